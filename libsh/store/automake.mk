# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libsh/libshstore.a
libsh_libshstore_a_SOURCES = \
	libsh/store/meta.c libsh/store/meta.h \
	libsh/store/meta_sqlite.c libsh/store/meta_sqlite.h \
	libsh/store/meta_sqlite_garbage.c \
	libsh/store/meta_sqlite_memory.c \
	libsh/store/meta_sqlite_open.c \
	libsh/store/meta_sqlite_page.c \
	libsh/store/meta_sqlite_page_sum.c \
	libsh/store/meta_restore.c libsh/store/meta_restore.h \
	libsh/store/meta_sqlite_retain.c \
	libsh/store/meta_sqlite_schema.c \
	libsh/store/meta_sqlite_segment.c \
	libsh/store/meta_sqlite_session.c \
	libsh/store/meta_sqlite_snapshot.c \
	libsh/store/meta_sqlite_topic.c \
	libsh/store/object.c libsh/store/object.h \
	libsh/store/object_dir.c \
	libsh/store/object_fault.c \
	libsh/store/object_guard.c \
	libsh/store/object_open.c \
	libsh/store/object_s3.c libsh/store/object_s3.h \
	libsh/store/object_s3_credentials.c libsh/store/object_s3_credentials.h \
	libsh/store/object_s3_judge.c \
	libsh/store/object_s3_keys.c libsh/store/object_s3_keys.h \
	libsh/store/object_s3_list.c \
	libsh/store/object_s3_open.c \
	libsh/store/object_s3_page.c libsh/store/object_s3_page.h \
	libsh/store/object_s3_put.c \
	libsh/store/object_s3_request.c \
	libsh/store/object_s3_upload.c \
	libsh/store/object_xml.c libsh/store/object_xml.h \
	libsh/store/offline.c libsh/store/offline.h \
	libsh/store/offline_objects.c \
	libsh/store/offline_segment.c \
	libsh/store/offline_wal.c \
	libsh/store/producer_set.c libsh/store/producer_set.h \
	libsh/store/rebuild.c libsh/store/rebuild.h libsh/store/rebuild_private.h \
	libsh/store/rebuild_chain.c \
	libsh/store/rebuild_segment.c \
	libsh/store/rebuild_slot.c \
	libsh/store/rebuild_snapshot.c \
	libsh/store/rebuild_topic.c \
	libsh/store/rebuild_write.c \
	libsh/store/segment_build.c libsh/store/segment_file.h \
	libsh/store/segment_file.c \
	libsh/store/segment_writer.c libsh/store/segment_writer.h \
	libsh/store/wal_file.c libsh/store/wal_file.h \
	libsh/store/window.c libsh/store/window.h

# What the S3 driver needs, and so whatever opens an object store by its URL.
S3_LIBS = libsh/libshrun.a $(FORMAT_LIBS) $(CURL_LIBS) $(EXPAT_LIBS) $(CRYPTO_LIBS) $(JANSSON_LIBS)
# What a program links to use this layer.
STORE_LIBS = libsh/libshstore.a $(FORMAT_LIBS)
