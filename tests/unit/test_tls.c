/* Two relays over a socket pair of this process: who trusts whom, why not, and what comes through. */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/types.h"
#include "tls/relay.h"

#define DAY (24 * 60 * 60)

static char folder[64];
static unsigned serial = 1;

static const char *in_folder(char out[128], const char *name)
{
	snprintf(out, 128, "%s/%s", folder, name);
	return out;
}

static void write_text(const char *name, const void *bytes, size_t size, mode_t mode)
{
	char path[128];
	FILE *file = fopen(in_folder(path, name), "we");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	fclose(file);
	chmod(path, mode);
}

/* ---- An authority and its certificates ---- */

struct identity {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t certificate;
};

enum purpose { BOTH, SERVER_ONLY };

static void make(struct identity *out, const struct identity *by, const char *host, int64_t from, int64_t until, enum purpose purpose)
{
	uint8_t number = (uint8_t)serial++;

	gnutls_x509_privkey_init(&out->key);
	gnutls_x509_privkey_generate(out->key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crt_init(&out->certificate);
	gnutls_x509_crt_set_version(out->certificate, 3);
	gnutls_x509_crt_set_serial(out->certificate, &number, 1);
	gnutls_x509_crt_set_dn_by_oid(out->certificate, GNUTLS_OID_X520_COMMON_NAME, 0, host, (unsigned)strlen(host));
	gnutls_x509_crt_set_activation_time(out->certificate, time(NULL) + from);
	gnutls_x509_crt_set_expiration_time(out->certificate, time(NULL) + until);
	gnutls_x509_crt_set_key(out->certificate, out->key);
	gnutls_x509_crt_set_basic_constraints(out->certificate, by == NULL, -1);
	if (by) {
		gnutls_x509_crt_set_subject_alt_name(out->certificate, GNUTLS_SAN_DNSNAME, host, (unsigned)strlen(host),
						     GNUTLS_FSAN_SET);
		gnutls_x509_crt_set_key_purpose_oid(out->certificate, GNUTLS_KP_TLS_WWW_SERVER, 0);
		if (purpose == BOTH)
			gnutls_x509_crt_set_key_purpose_oid(out->certificate, GNUTLS_KP_TLS_WWW_CLIENT, 0);
	}
	assert_int_equal(gnutls_x509_crt_sign2(out->certificate, by ? by->certificate : out->certificate, by ? by->key : out->key,
					       GNUTLS_DIG_SHA256, 0), 0);
}

static void store(const struct identity *identity, const char *name)
{
	gnutls_datum_t pem;
	char file[64];

	gnutls_x509_crt_export2(identity->certificate, GNUTLS_X509_FMT_PEM, &pem);
	snprintf(file, sizeof file, "%s-cert.pem", name);
	write_text(file, pem.data, pem.size, 0644);
	gnutls_free(pem.data);
	gnutls_x509_privkey_export2(identity->key, GNUTLS_X509_FMT_PEM, &pem);
	snprintf(file, sizeof file, "%s-key.pem", name);
	write_text(file, pem.data, pem.size, 0600);
	gnutls_free(pem.data);
}

static void finish(struct identity *identity)
{
	gnutls_x509_crt_deinit(identity->certificate);
	gnutls_x509_privkey_deinit(identity->key);
}

static void make_one(const struct identity *by, const char *name, const char *host, int64_t from, int64_t until,
		     enum purpose purpose)
{
	struct identity identity;

	make(&identity, by, host, from, until, purpose);
	store(&identity, name);
	finish(&identity);
}

static int set_up(void **state)
{
	struct identity ours, strangers;

	(void)state;
	snprintf(folder, sizeof folder, "/tmp/doppel-tls-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	make(&ours, NULL, "ours", -DAY, DAY, BOTH);
	make(&strangers, NULL, "strangers", -DAY, DAY, BOTH);
	store(&ours, "ours");
	store(&strangers, "strangers");
	make_one(&ours, "attic", "attic.example", -DAY, DAY, BOTH);
	make_one(&ours, "cellar", "cellar.example", -DAY, DAY, BOTH);
	make_one(&ours, "server", "server.example", -DAY, DAY, SERVER_ONLY);
	make_one(&ours, "old", "old.example", -2 * DAY, -DAY, BOTH);
	make_one(&ours, "early", "early.example", DAY, 2 * DAY, BOTH);
	make_one(&strangers, "stranger", "attic.example", -DAY, DAY, BOTH);
	finish(&ours);
	finish(&strangers);
	write_text("a.psk", "moves:00112233445566778899aabbccddeeff\n", 39, 0600);
	write_text("b.psk", "moves:00112233445566778899aabbccddee00\n", 39, 0600);
	write_text("c.psk", "other:00112233445566778899aabbccddeeff\n", 39, 0600);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

/* ---- Two sides ---- */

struct side {
	const char *identity, *authority; /* names of files; or */
	const char *psk;
	const char *name;
	bool server;
	int fd, plain, code;
	char peer[TLS_PEER_SIZE];
	struct error error;
};

static int load(struct tls_credentials **out, const struct side *side, struct error *e)
{
	char certificate[128], key[128], authority[128], psk[128], file[64];
	struct tls_files files = {.psk = NULL};

	if (side->psk) {
		files.psk = in_folder(psk, side->psk);
		return tls_credentials_load(out, &files, side->server, e);
	}
	snprintf(file, sizeof file, "%s-cert.pem", side->identity);
	files.certificate = in_folder(certificate, file);
	snprintf(file, sizeof file, "%s-key.pem", side->identity);
	files.key = in_folder(key, file);
	snprintf(file, sizeof file, "%s-cert.pem", side->authority);
	files.authorities = in_folder(authority, file);
	return tls_credentials_load(out, &files, side->server, e);
}

static void be(struct side *side)
{
	struct tls_credentials *credentials;

	side->plain = -1;
	side->code = load(&credentials, side, &side->error);
	if (side->code < 0) {
		close(side->fd);
		return;
	}
	side->code = tls_relay(credentials, side->fd, side->name, &side->plain, side->peer, &side->error);
	tls_credentials_free(credentials);
}

union room {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/* A process of its own, as relays are forks and a fork is best of one thread; its plain end comes back with what it found. */
static void begin(struct side *side, int report[2])
{
	union room control = {.bytes = {0}};
	struct iovec part = {side, sizeof *side};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report), 0);
	if (fork() != 0) {
		close(report[1]);
		close(side->fd);
		return;
	}
	/* Whatever else the other side has open would keep it from ending. */
	report[1] = fcntl(report[1], F_DUPFD, 10);
	dup2(side->fd, 3);
	dup2(report[1], 4);
	close_range(5, ~0u, 0);
	side->fd = 3;
	be(side);
	if (side->plain >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof control.bytes;
		control.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &side->plain, sizeof(int));
	}
	_exit(sendmsg(4, &message, MSG_NOSIGNAL) < 0);
}

static void end(struct side *side, const int report[2])
{
	union room control;
	struct iovec part = {side, sizeof *side};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	const char *name = side->name;

	assert_int_equal(recvmsg(report[0], &message, MSG_CMSG_CLOEXEC), sizeof *side);
	side->name = name;
	if (side->plain >= 0)
		memcpy(&side->plain, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	close(report[0]);
	wait(NULL);
}

/* wire: what is between them; NULL: a socket pair. */
static void meet(struct side *server, struct side *client, const int wire[2])
{
	int pair[2], reports[2][2];

	if (wire)
		memcpy(pair, wire, sizeof pair);
	else
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	server->server = true;
	server->fd = pair[0];
	client->fd = pair[1];
	begin(server, reports[0]);
	begin(client, reports[1]);
	end(server, reports[0]);
	end(client, reports[1]);
}

static void part(struct side *server, struct side *client)
{
	if (server->plain >= 0)
		close(server->plain);
	if (client->plain >= 0)
		close(client->plain);
}

static void assert_tells(const struct side *side, const char *part_of)
{
	if (side->code < 0 && strstr(side->error.message, part_of))
		return;
	fail_msg("%s side: code %d, \"%s\", where \"%s\" was to be told", side->server ? "the server's" : "the client's", side->code,
		 side->code < 0 ? side->error.message : "", part_of);
}

static void assert_well(const struct side *side)
{
	if (side->code < 0)
		fail_msg("%s side: code %d, \"%s\"", side->server ? "the server's" : "the client's", side->code, side->error.message);
}

static void check_carries(int from, int to)
{
	enum { LENGTH = 1000000 };
	uint8_t *sent = malloc(LENGTH), *got = calloc(1, LENGTH);
	size_t done = 0, sent_bytes = 0;

	for (size_t i = 0; i < LENGTH; i++)
		sent[i] = (uint8_t)(i * 31 ^ i >> 8);
	while (done < LENGTH) {
		ssize_t n = send(from, sent + sent_bytes, LENGTH - sent_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			sent_bytes += (size_t)n;
		/* Something is on its way whenever it is waited for. */
		n = recv(to, got + done, LENGTH - done, sent_bytes > done && n < 0 ? 0 : MSG_DONTWAIT);
		if (n > 0)
			done += (size_t)n;
	}
	assert_memory_equal(sent, got, LENGTH);
	free(sent);
	free(got);
}

static void check_talk(struct side *server, struct side *client)
{
	assert_well(server);
	assert_well(client);
	check_carries(client->plain, server->plain);
	check_carries(server->plain, client->plain);
}

static void test_certificates(void **state)
{
	struct side server = {.identity = "attic", .authority = "ours"};
	struct side client = {.identity = "cellar", .authority = "ours", .name = "attic.example"};
	char byte;

	(void)state;
	meet(&server, &client, NULL);
	check_talk(&server, &client);
	assert_string_equal(server.peer, "CN=cellar.example");
	assert_string_equal(client.peer, "CN=attic.example");
	/* What was sent last arrives, and then the end. */
	assert_int_equal(send(client.plain, "x", 1, MSG_NOSIGNAL), 1);
	close(client.plain);
	client.plain = -1;
	assert_int_equal(recv(server.plain, &byte, 1, 0), 1);
	assert_int_equal(recv(server.plain, &byte, 1, 0), 0);
	part(&server, &client);
}

static void test_keys(void **state)
{
	struct side server = {.psk = "a.psk"}, client = {.psk = "a.psk", .name = "anything"};

	(void)state;
	meet(&server, &client, NULL);
	check_talk(&server, &client);
	part(&server, &client);
}

/* One side closes at once what it still has to read: the other still hears what was said last. */
static void test_last_word(void **state)
{
	struct side server = {.psk = "a.psk"}, client = {.psk = "a.psk"};
	static uint8_t flood[32 * KIB];
	char word[6] = "";

	(void)state;
	meet(&server, &client, NULL);
	assert_int_equal(send(client.plain, flood, sizeof flood, MSG_NOSIGNAL), sizeof flood);
	assert_int_equal(send(server.plain, "enough", 6, MSG_NOSIGNAL), 6);
	close(server.plain);
	server.plain = -1;
	assert_int_equal(recv(client.plain, word, sizeof word, MSG_WAITALL), 6);
	assert_memory_equal(word, "enough", 6);
	part(&server, &client);
}

struct refusal {
	struct side server, client;
	const char *server_tells, *client_tells;
};

static void test_strangers(void **state)
{
	static const struct refusal refusals[] = {
		{{.identity = "stranger", .authority = "ours"}, {.identity = "cellar", .authority = "ours", .name = "attic.example"},
		 "does not trust the authority", "of an authority that is not in"},
		{{.identity = "attic", .authority = "ours"}, {.identity = "stranger", .authority = "ours", .name = "attic.example"},
		 "of an authority that is not in", "does not trust the authority"},
		{{.identity = "attic", .authority = "ours"}, {.identity = "cellar", .authority = "ours", .name = "cellar.example"},
		 "refused", "is not that of cellar.example"},
		{{.identity = "attic", .authority = "ours"}, {.identity = "server", .authority = "ours", .name = "attic.example"},
		 "needs both purposes", "refused"},
		{{.identity = "old", .authority = "ours"}, {.identity = "cellar", .authority = "ours", .name = "old.example"},
		 "has expired: it was valid until", "hung up"},
		{{.identity = "early", .authority = "ours"}, {.identity = "cellar", .authority = "ours", .name = "early.example"},
		 "is not valid before", "hung up"},
		{{.psk = "a.psk"}, {.psk = "b.psk"}, "key is another one", "key is another one"},
		{{.psk = "a.psk"}, {.psk = "c.psk"}, "key is another one", "key is another one"},
		{{.psk = "a.psk"}, {.identity = "cellar", .authority = "ours", .name = "x"}, "certificates on one", "certificates on one"},
		{{.identity = "attic", .authority = "ours"}, {.psk = "a.psk"}, "certificates on one", "certificates on one"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct side server = refusals[i].server, client = refusals[i].client;

		meet(&server, &client, NULL);
		assert_tells(&server, refusals[i].server_tells);
		assert_tells(&client, refusals[i].client_tells);
		part(&server, &client);
	}
}

static void test_files(void **state)
{
	static const char *const keys[] = {"",
					   "moves\n",
					   ":00112233445566778899aabbccddeeff",
					   "moves:0011223344556677",
					   "moves:00112233445566778899aabbccddeeff0",
					   "moves:00112233445566778899aabbccddeefg",
					   "moves:00112233445566778899aabbccddeeff\nmoves:00112233445566778899aabbccddeeff\n"};
	struct tls_credentials *credentials;
	struct tls_files files = {.certificate = "/nowhere"};
	struct error e;
	char path[128];

	(void)state;
	assert_int_equal(tls_credentials_load(&credentials, &files, false, &e), -EINVAL);
	files = (struct tls_files){.folder = folder};
	assert_int_equal(tls_credentials_load(&credentials, &files, false, &e), -ENOENT);
	files = (struct tls_files){.psk = in_folder(path, "key")};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		write_text("key", keys[i], strlen(keys[i]), 0600);
		if (tls_credentials_load(&credentials, &files, false, &e) != -EINVAL)
			fail_msg("a key of \"%s\" was taken", keys[i]);
	}
	write_text("key", "moves:00112233445566778899aabbccddeeff\n", 39, 0644);
	assert_int_equal(tls_credentials_load(&credentials, &files, false, &e), -EACCES);
	assert_non_null(strstr(e.message, "chmod 600"));
	files.folder = folder;
	assert_int_equal(tls_credentials_load(&credentials, &files, false, &e), -EINVAL);
}

/* ---- A wire that is cut, and one that lies ---- */

struct wire {
	int near, far;
	size_t length; /* after so many bytes: */
	bool flip;     /* a bit is turned over; else it is cut */
};

/* From near to far, in a process of its own. */
static pid_t carry(const struct wire *wire)
{
	uint8_t bytes[4096];
	size_t passed = 0;
	ssize_t n;
	int far;
	pid_t child = fork();

	if (child != 0)
		return child;
	far = fcntl(wire->far, F_DUPFD, 10);
	dup2(wire->near, 3);
	dup2(far, 4);
	close_range(5, ~0u, 0);
	while ((n = recv(3, bytes, sizeof bytes, 0)) > 0) {
		if (wire->length && passed < wire->length && passed + (size_t)n >= wire->length) {
			if (!wire->flip)
				break;
			bytes[wire->length - passed - 1] ^= 1;
		}
		passed += (size_t)n;
		if (send(4, bytes, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	}
	shutdown(3, SHUT_RDWR);
	shutdown(4, SHUT_RDWR);
	_exit(0);
}

/* What comes through is the beginning of what was sent, and then the end. */
static void check_cut(bool flip)
{
	enum { LENGTH = 300000 };
	struct side server = {.psk = "a.psk"}, client = {.psk = "a.psk"};
	int near[2], far[2];
	uint8_t bytes[4096];
	struct wire forth, back;
	pid_t carriers[2];
	size_t got = 0, sent = 0;
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, near), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, far), 0);
	forth = (struct wire){near[0], far[0], 100000, flip};
	back = (struct wire){far[0], near[0], 0, false};
	carriers[0] = carry(&forth);
	carriers[1] = carry(&back);
	meet(&server, &client, (const int[2]){far[1], near[1]});
	assert_well(&server);
	assert_well(&client);
	memset(bytes, 0x5a, sizeof bytes);
	while (sent < LENGTH && (n = send(client.plain, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
		sent += (size_t)n;
	while ((n = recv(server.plain, bytes, sizeof bytes, 0)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(bytes[i], 0x5a);
		got += (size_t)n;
	}
	assert_true(got < 100000 && got < sent);
	part(&server, &client);
	close(near[0]);
	close(far[0]);
	waitpid(carriers[0], NULL, 0);
	waitpid(carriers[1], NULL, 0);
}

static void test_cut(void **state)
{
	(void)state;
	check_cut(false);
}

static void test_lying_wire(void **state)
{
	(void)state;
	check_cut(true);
}

/* Who speaks no TLS is told so, and does not get in. */
static void test_other_tongue(void **state)
{
	struct side server = {.psk = "a.psk", .server = true};
	static const char hello[] = "GET / HTTP/1.0\r\n\r\n";
	int pair[2], report[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	server.fd = pair[0];
	begin(&server, report);
	assert_int_equal(send(pair[1], hello, sizeof hello, MSG_NOSIGNAL), sizeof hello);
	end(&server, report);
	assert_tells(&server, "does not speak TLS 1.3");
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_certificates), cmocka_unit_test(test_keys),   cmocka_unit_test(test_last_word),
		cmocka_unit_test(test_strangers),    cmocka_unit_test(test_files),  cmocka_unit_test(test_cut),
		cmocka_unit_test(test_lying_wire),   cmocka_unit_test(test_other_tongue),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
