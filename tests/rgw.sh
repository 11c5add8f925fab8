# SPDX-License-Identifier: Apache-2.0
# A Ceph RADOS Gateway of one's own, for tests of S3 (after tests/lib.sh): one monitor, one store in memory, one gateway, all on
# loopback, without systemd.
#
#	rgw_missing       what is not installed, a name a line
#	start_rgw         returns when it serves; sets S3_ENDPOINT, RGW_PID, and RGW_TLS_PORT with $RGW_DIR/cert.pem; exports
#	                  SHD_S3_ENDPOINT and the keys. Without success the test bails out
#	stop_rgw          ends what was started
#	restart_rgw       the gateway alone, on the same port, after kill -9 of $RGW_PID
#	rgw_admin ARG...  radosgw-admin
#	rgw_raw [NAME]    what lies on its disks: the names, or the path of a copy of one of them
#	Requests are made with tests/helper/object-tool.
RGW_DIR=$TMP/rgw
RGW_PID= RGW_OSD_PID= RGW_MON_PID=
AWS_ACCESS_KEY_ID=test-key AWS_SECRET_ACCESS_KEY=test-secret-that-nobody-else-may-see
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
unset AWS_SESSION_TOKEN AWS_PROFILE AWS_REGION AWS_DEFAULT_REGION http_proxy https_proxy

rgw_missing() {
	for rgw_program in ceph-mon ceph-osd radosgw radosgw-admin ceph-authtool monmaptool rados openssl; do
		command -v "$rgw_program" >/dev/null || echo "$rgw_program"
	done
}

rgw_free_port() {
	while :; do
		rgw_port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
		# 0A-0F: a listener in /proc/net/tcp; its port is in hex
		grep -q ":$(printf %04X "$rgw_port") .* 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null || break
	done
	echo "$rgw_port"
}

rgw_configure() {
	RGW_MON_PORT=$(rgw_free_port)
	RGW_PORT=$(rgw_free_port)
	RGW_TLS_PORT=$(rgw_free_port)
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test \
		-addext subjectAltName=IP:127.0.0.1 -keyout "$RGW_DIR/key.pem" -out "$RGW_DIR/cert.pem" \
		>"$RGW_DIR/openssl.out" 2>&1
	rgw_id=$(cat /proc/sys/kernel/random/uuid)
	cat >"$RGW_DIR/ceph.conf" <<-END
		[global]
		fsid = $rgw_id
		mon host = v1:127.0.0.1:$RGW_MON_PORT
		public addr = 127.0.0.1
		cluster addr = 127.0.0.1
		run dir = $RGW_DIR
		admin socket =
		log file = $RGW_DIR/\$name.log
		log to stderr = false
		crash dir = $RGW_DIR
		keyring = $RGW_DIR/keyring
		mon data = $RGW_DIR/mon
		osd data = $RGW_DIR/osd
		rgw data = $RGW_DIR/rgw
		pid file =
		ms bind msgr2 = false
		ms type = async+posix
		mon allow pool size one = true
		mon warn on pool no redundancy = false
		mon max pg per osd = 1000
		osd pool default size = 1
		osd pool default min size = 1
		osd pool default pg num = 1
		osd pool default pgp num = 1
		osd pool default pg autoscale mode = off
		osd crush chooseleaf type = 0
		osd crush update on start = true
		osd objectstore = memstore
		memstore device bytes = 2147483648
		osd op num shards = 1
		paxos propose interval = 0.05
		paxos min wait = 0.01
		mon data avail crit = 1
		rgw frontends = beast endpoint=127.0.0.1:$RGW_PORT ssl_endpoint=127.0.0.1:$RGW_TLS_PORT ssl_certificate=$RGW_DIR/cert.pem ssl_private_key=$RGW_DIR/key.pem tcp_nodelay=1
		rgw dns name = localhost
		rgw max listing results = 50
		rgw thread pool size = 16
		rgw enable usage log = false
		rgw gc obj min wait = 5
		rgw gc processor period = 5
		rgw gc processor max time = 5
		rgw lc debug interval = 3600
		rgw crypt require ssl = false
		rgw crypt s3 kms backend = testing
		rgw crypt s3 kms encryption keys = test-kms=MDEyMzQ1Njc4OUFCQ0RFRjAxMjM0NTY3ODlBQkNERUY=
	END
}

rgw_begin() { # name command...: in the background; sets rgw_started
	rgw_name=$1
	shift
	"$@" >>"$RGW_DIR/$rgw_name.out" 2>&1 </dev/null &
	rgw_started=$!
}

rgw_keys() {
	ceph-authtool --create-keyring "$RGW_DIR/keyring" --gen-key -n mon. --cap mon 'allow *' &&
		ceph-authtool "$RGW_DIR/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' &&
		ceph-authtool "$RGW_DIR/keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
}

restart_rgw() {
	rgw_begin radosgw radosgw -f -n client.admin -c "$RGW_DIR/ceph.conf"
	RGW_PID=$rgw_started
	wait_for 'curl -s -o /dev/null "$S3_ENDPOINT/" || ! alive "$RGW_PID"' 60
	alive "$RGW_PID"
}

rgw_admin() {
	radosgw-admin -n client.admin -c "$RGW_DIR/ceph.conf" "$@" 2>>"$RGW_DIR/admin.out"
}

rgw_raw() {
	if [ $# -eq 0 ]; then
		rados -c "$RGW_DIR/ceph.conf" -p default.rgw.buckets.data ls
	else
		rados -c "$RGW_DIR/ceph.conf" -p default.rgw.buckets.data get "$1" "$RGW_DIR/raw" && echo "$RGW_DIR/raw"
	fi
}

rgw_up() {
	ceph-osd -c "$RGW_DIR/ceph.conf" -i 0 --mkfs --osd-uuid "$rgw_osd_id" >>"$RGW_DIR/mkfs.out" 2>&1 || return 1
	rgw_begin osd ceph-osd -f -c "$RGW_DIR/ceph.conf" -i 0
	RGW_OSD_PID=$rgw_started
	# Looking for the user makes the pools; it waits until the store is up.
	rgw_admin user create --uid test --display-name test --access-key "$AWS_ACCESS_KEY_ID" \
		--secret-key "$AWS_SECRET_ACCESS_KEY" >/dev/null || return 1
	S3_ENDPOINT=http://127.0.0.1:$RGW_PORT
	SHD_S3_ENDPOINT=$S3_ENDPOINT
	export S3_ENDPOINT SHD_S3_ENDPOINT
	restart_rgw
}

start_rgw() {
	mkdir -p "$RGW_DIR/mon" "$RGW_DIR/osd" "$RGW_DIR/rgw"
	rgw_configure
	rgw_osd_id=$(cat /proc/sys/kernel/random/uuid)
	if rgw_keys >"$RGW_DIR/keys.out" 2>&1 &&
		monmaptool --create --addv a "[v1:127.0.0.1:$RGW_MON_PORT]" --fsid "$rgw_id" "$RGW_DIR/monmap" >>"$RGW_DIR/keys.out" 2>&1 &&
		ceph-mon -c "$RGW_DIR/ceph.conf" -i a --mkfs --monmap "$RGW_DIR/monmap" --keyring "$RGW_DIR/keyring" >>"$RGW_DIR/mkfs.out" 2>&1; then
		rgw_begin mon ceph-mon -f -c "$RGW_DIR/ceph.conf" -i a
		RGW_MON_PID=$rgw_started
		ceph -c "$RGW_DIR/ceph.conf" osd new "$rgw_osd_id" >>"$RGW_DIR/keys.out" 2>&1 && rgw_up && return 0
	fi
	for rgw_file in "$RGW_DIR"/*.out "$RGW_DIR"/*.log; do
		diag "$rgw_file"
		diag_file "$rgw_file" 8
	done
	stop_rgw
	bail 'the S3 service did not start'
}

stop_rgw() {
	for rgw_pid in $RGW_PID $RGW_OSD_PID $RGW_MON_PID; do
		kill -KILL "$rgw_pid" 2>/dev/null
		{ wait "$rgw_pid"; } 2>/dev/null
	done
	RGW_PID= RGW_OSD_PID= RGW_MON_PID=
}

# Whatever ends the test, nothing of this stays.
trap 'rgw_status=$?; stop_rgw; (exit $rgw_status); tap_at_exit' EXIT
