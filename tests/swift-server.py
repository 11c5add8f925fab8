# SPDX-License-Identifier: Apache-2.0
# OpenStack Swift with its S3 API in one process on loopback, objects in memory: an S3 service that refuses conditional writes.
#
#	/usr/bin/python3 swift-server.py DIRECTORY PORT_FILE
#
# Accounts and containers are databases in DIRECTORY. The port of the service goes to PORT_FILE when it serves.
# The key is test:tester, its secret test-secret. It ends by itself after 20 minutes.
import os
import signal
import sys

os.environ["EVENTLET_NO_GREENDNS"] = "yes"
import eventlet
import eventlet.wsgi
from swift.common import utils

utils.HASH_PATH_SUFFIX = b"test"  # else /etc/swift/swift.conf would have to be there
utils.HASH_PATH_PREFIX = b""
utils.validate_configuration = lambda: None
utils.eventlet_monkey_patch()
from swift.common.ring import RingBuilder
from swift.common.wsgi import loadapp

DEFAULTS = """[DEFAULT]
swift_dir = {dir}
devices = {dir}/node
mount_check = false
disable_fallocate = true
log_address = {dir}/no-log
"""
BACKEND = """[pipeline:main]
pipeline = server
[app:server]
use = egg:swift#{program}
"""
PROXY = """[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy bulk slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = test-secret .admin
""" + "".join(
    f"[filter:{name}]\nuse = egg:swift#{name}\n"
    for name in ("catch_errors", "gatekeeper", "listing_formats", "copy", "bulk", "slo")
)


class NoCache:
    """The S3 API wants a memcache to be there; one that forgets everything will do."""

    def get(self, key, **kwargs):
        return None

    def set(self, key, value, **kwargs):
        pass

    def delete(self, key, **kwargs):
        pass

    def incr(self, key, delta=1, **kwargs):
        return delta


def with_cache(app):
    def call(env, start_response):
        env["swift.cache"] = NoCache()
        return app(env, start_response)

    return call


def serve(directory, name, text):
    path = os.path.join(directory, name + ".conf")
    with open(path, "w") as f:
        f.write(DEFAULTS.format(dir=directory) + text)
    listener = eventlet.listen(("127.0.0.1", 0))
    app = with_cache(loadapp(path, global_conf={"log_name": name}))
    eventlet.spawn(eventlet.wsgi.server, listener, app, log=open(os.devnull, "w"), debug=False)
    return listener.getsockname()[1]


def make_ring(directory, name, port):
    builder = RingBuilder(2, 1, 0)
    builder.add_dev(dict(id=0, region=1, zone=1, ip="127.0.0.1", port=port, replication_ip="127.0.0.1",
                         replication_port=port, device="disk", weight=1.0, meta=""))
    builder.rebalance()
    builder.get_ring().save(os.path.join(directory, name + ".ring.gz"))


def main(directory, port_file):
    signal.alarm(20 * 60)
    os.makedirs(os.path.join(directory, "node", "disk"))
    for name, program in ("account", "account"), ("container", "container"), ("object", "mem_object"):
        make_ring(directory, name, 1)
        make_ring(directory, name, serve(directory, name, BACKEND.format(program=program)))
    port = serve(directory, "proxy", PROXY)
    with open(port_file + ".new", "w") as f:
        f.write(f"{port}\n")
    os.rename(port_file + ".new", port_file)
    while True:
        eventlet.sleep(3600)


main(*sys.argv[1:])
