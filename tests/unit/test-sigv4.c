/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures against those that AWS publishes: its SigV4 test suite, and the examples of the S3
 * documentation. */
#include "libsh/base/mem.h"
#include "libsh/format/sigv4.h"
#include "tests/unit/tap.h"

#define PAIRS(...)                                                                                           \
	(const struct sigv4_pair[])                                                                          \
	{                                                                                                    \
		__VA_ARGS__                                                                                  \
	}
#define COUNT(...) (sizeof(PAIRS(__VA_ARGS__)) / sizeof(struct sigv4_pair))
#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define FORM_HASH "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"
#define HOST                                                                                                 \
	{                                                                                                    \
		"Host", "example.amazonaws.com"                                                              \
	}
#define DATE                                                                                                 \
	{                                                                                                    \
		"X-Amz-Date", "20150830T123600Z"                                                             \
	}

static const struct sigv4_key suite_key = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
	"us-east-1", "service", "20150830T123600Z"};
static const struct sigv4_key s3_key = {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	"us-east-1", "s3", "20130524T000000Z"};

static void check(
	const char *name, const struct sigv4_request *q, const struct sigv4_key *k, const char *want)
{
	struct buf b = BUF_INIT(SIGV4_TEXT_MAX);
	const char *got;

	if (!ok(sigv4_authorization(&b, q, k, NULL) == 0, "%s is signed", name))
		return;
	got = strstr(b.data, "Signature=");
	if (!is_str(got ? got + 10 : "", want, name)) {
		buf_reset(&b);
		sigv4_canonical_request(&b, q);
		printf("# canonical request: %s\n", b.data);
	}
	buf_release(&b);
}

struct vector {
	const char *name, *method, *path, *want, *hash;
	struct sigv4_pair query[4], headers[6];
};
static const struct vector suite[] = {
	{"get-vanilla", "GET", "/",
		.want = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-vanilla-query-order-key-case", "GET", "/",
		.want = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
		.query = {{"Param2", "value2"}, {"Param1", "value1"}}},
	{"get-vanilla-empty-query-key", "GET", "/",
		.want = "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
		.query = {{"Param1", "value1"}}},
	{"get-vanilla-query-unreserved", "GET", "/",
		.want = "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
		.query = {{"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
			"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"}}},
	{"get-vanilla-utf8-query", "GET", "/",
		.want = "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
		.query = {{"\341\210\264", "bar"}}},
	{"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
		.want = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
	{"get-utf8", "GET", "/\341\210\264",
		.want = "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
	{"get-header-key-duplicate", "GET", "/",
		.want = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
		.headers = {{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}}},
	{"get-header-value-order", "GET", "/",
		.want = "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
		.headers = {{"My-Header1", "value4"}, {"My-Header1", "value1"}, {"My-Header1", "value3"},
			{"My-Header1", "value2"}}},
	{"get-header-value-trim", "GET", "/",
		.want = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
		.headers = {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}}},
	{"post-vanilla", "POST", "/",
		.want = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{"post-vanilla-query", "POST", "/",
		.want = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
		.query = {{"Param1", "value1"}}},
	{"post-header-key-sort", "POST", "/",
		.want = "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
		.headers = {{"My-Header1", "value1"}}},
	{"post-header-value-case", "POST", "/",
		.want = "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
		.headers = {{"My-Header1", "VALUE1"}}},
	{"post-x-www-form-urlencoded", "POST", "/",
		.want = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a", .hash = FORM_HASH,
		.headers = {{"Content-Type", "application/x-www-form-urlencoded"}}},
	{"normalize-path: get-relative", "GET", "/example/..",
		.want = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"normalize-path: get-slash-dot-slash", "GET", "/./",
		.want = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"normalize-path: get-slash-pointless-dot", "GET", "/./example",
		.want = "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
	{"normalize-path: get-slashes", "GET", "//example//",
		.want = "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
	{"normalize-path: get-space", "GET", "/example space/",
		.want = "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
};

static size_t count_pairs(const struct sigv4_pair *p, size_t max)
{
	size_t n = 0;

	while (n < max && p[n].name)
		n++;
	return n;
}

static void test_suite(void)
{
	for (size_t i = 0; i < array_count(suite); i++) {
		const struct vector *v = &suite[i];
		struct sigv4_pair headers[8] = {HOST, DATE};
		size_t n = count_pairs(v->headers, array_count(v->headers));
		struct sigv4_request q = {.method = v->method,
			.path = v->path,
			.normalize_path = true,
			.query = v->query,
			.query_count = count_pairs(v->query, array_count(v->query)),
			.headers = headers,
			.header_count = n + 2,
			.payload_hash = v->hash ? v->hash : EMPTY_HASH};

		memcpy(headers + 2, v->headers, n * sizeof(headers[0]));
		check(v->name, &q, &suite_key, v->want);
	}
}

#define S3_HOST                                                                                              \
	{                                                                                                    \
		"Host", "examplebucket.s3.amazonaws.com"                                                     \
	}
#define S3_DATE                                                                                              \
	{                                                                                                    \
		"x-amz-date", "20130524T000000Z"                                                             \
	}
#define S3_EMPTY                                                                                             \
	{                                                                                                    \
		"x-amz-content-sha256", EMPTY_HASH                                                           \
	}

static void test_s3(void)
{
	char hash[SIGV4_HASH_BYTES];
	struct sigv4_request q = {.method = "GET", .path = "/test.txt", .payload_hash = EMPTY_HASH};

	q.headers = PAIRS(S3_HOST, {"Range", "bytes=0-9"}, S3_EMPTY, S3_DATE);
	q.header_count = 4;
	check("S3: GET object with Range", &q, &s3_key,
		"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");

	sigv4_hash("Welcome to Amazon S3.", 21, hash);
	q = (struct sigv4_request){
		.method = "PUT", .path = "/test$file.text", .payload_hash = hash, .header_count = 5};
	q.headers = PAIRS({"Date", "Fri, 24 May 2013 00:00:00 GMT"}, S3_HOST, S3_DATE,
		{"x-amz-storage-class", "REDUCED_REDUNDANCY"}, {"x-amz-content-sha256", hash});
	check("S3: PUT object", &q, &s3_key,
		"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");

	q = (struct sigv4_request){
		.method = "GET", .path = "/", .payload_hash = EMPTY_HASH, .header_count = 3};
	q.headers = PAIRS(S3_HOST, S3_DATE, S3_EMPTY);
	q.query = PAIRS({"lifecycle", ""});
	q.query_count = 1;
	check("S3: GET bucket lifecycle", &q, &s3_key,
		"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");

	q.query = PAIRS({"prefix", "J"}, {"max-keys", "2"});
	q.query_count = 2;
	check("S3: list objects", &q, &s3_key,
		"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void test_text(void)
{
	struct buf b = BUF_INIT(SIGV4_TEXT_MAX);
	struct sigv4_pair many[SIGV4_PAIRS_MAX + 1] = {{"a", "b"}};
	struct sigv4_hasher *h = sigv4_hasher_new();
	char hash[SIGV4_HASH_BYTES], text[SIGV4_TIME_BYTES];

	sigv4_path(&b, "/a b/..//c=d:e@f$g,h;i+j", false);
	is_str(b.data, "/a%20b/..//c%3Dd%3Ae%40f%24g%2Ch%3Bi%2Bj",
		"a path of S3 is escaped, but not normalised");
	buf_reset(&b);
	sigv4_query(&b, PAIRS({"uploads", ""}, {"prefix", "a/b c"}, {"b", "2"}, {"b", "1"}), 4);
	is_str(b.data, "b=1&b=2&prefix=a%2Fb%20c&uploads=", "a query is sorted and escaped");
	for (size_t i = 0; i < array_count(many); i++)
		many[i] = (struct sigv4_pair){"a", "b"};
	ok(sigv4_query(&b, many, array_count(many)) < 0, "too many parameters are refused");
	buf_reset(&b);
	ok(sigv4_authorization(&b,
		   &(struct sigv4_request){.method = "GET",
			   .path = "/",
			   .headers = many,
			   .header_count = array_count(many),
			   .payload_hash = EMPTY_HASH},
		   &s3_key, NULL) < 0,
		"and too many headers");
	sigv4_hasher_add(h, "Welcome to ", 11);
	sigv4_hasher_add(h, "Amazon S3.", 10);
	sigv4_hasher_end(h, hash);
	is_str(hash, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", "a hash in pieces");
	sigv4_time(1369353600, text);
	is_str(text, "20130524T000000Z", "a time");
	buf_release(&b);
}

int main(void)
{
	test_suite();
	test_s3();
	test_text();
	return done_testing();
}
