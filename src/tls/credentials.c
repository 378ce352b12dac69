#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/hex.h"
#include "tls/private.h"

#define PEM_MAX (1 * MIB)
#define PSK_MAX 1024
#define PSK_LEAST 16

bool tls_files_any(const struct tls_files *files)
{
	return files->folder || files->certificate || files->key || files->authorities || files->psk;
}

static int lacking(struct error *e, const char *path, int code)
{
	return error_set(e, ERROR_FAILED, -EINVAL, "%.200s: %s", path, gnutls.strerror(code));
}

/* Who reads a key can be whom it stands for. */
static int check_private(const char *path, struct error *e)
{
	struct stat file;

	if (stat(path, &file) < 0)
		return error_errno(e, -errno, "%.200s", path);
	if (S_ISREG(file.st_mode) && (file.st_mode & (S_IRWXG | S_IRWXO)))
		return error_set(e, ERROR_PERMISSION, -EACCES, "%.200s is a secret that others may read; chmod 600 makes it yours alone",
				 path);
	return 0;
}

static int read_private(const char *path, size_t max, uint8_t **text, size_t *size, struct error *e)
{
	int r = check_private(path, e);

	return r < 0 ? r : file_read(path, max, text, size, e);
}

/* ---- A key that both have ---- */

/* The bytes that `text` tells, or 0. */
static unsigned read_key(const char *text, size_t length, uint8_t *out, size_t room)
{
	return length % 2 || length / 2 > room || !hex_read(out, text, length / 2) ? 0 : (unsigned)(length / 2);
}

static int parse_psk(struct tls_credentials *c, const char *path, const char *text, struct error *e)
{
	size_t length = strcspn(text, "\r\n"), name = strcspn(text, ":");

	c->psk_size = name && name < length && name < sizeof c->psk_name
			      ? read_key(text + name + 1, length - name - 1, c->psk_key, sizeof c->psk_key)
			      : 0;
	if (c->psk_size < PSK_LEAST || strspn(text + length, "\r\n") != strlen(text + length))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "%.200s is no key: it has to be one line, a name, a colon and 32 to 128 hexadecimal digits", path);
	memcpy(c->psk_name, text, name);
	c->psk_name[name] = '\0';
	return 0;
}

/* A session's pointer is its credentials. To an unknown name belongs a key that nobody has: it ends as a wrong key does. */
static int give_psk(gnutls_session_t session, const char *name, gnutls_datum_t *key)
{
	const struct tls_credentials *c = gnutls.session_get_ptr(session);

	key->data = (*gnutls.malloc)(c->psk_size);
	if (!key->data)
		return -1;
	key->size = c->psk_size;
	memcpy(key->data, c->psk_key, c->psk_size);
	return strcmp(name, c->psk_name) == 0 ? 0 : gnutls.rnd(GNUTLS_RND_KEY, key->data, key->size);
}

static int allocate_psk(struct tls_credentials *c)
{
	const gnutls_datum_t key = {c->psk_key, c->psk_size};
	int r;

	if (!c->server) {
		r = gnutls.psk_allocate_client_credentials(&c->client_psk);
		return r < 0 ? r : gnutls.psk_set_client_credentials(c->client_psk, c->psk_name, &key, GNUTLS_PSK_KEY_RAW);
	}
	r = gnutls.psk_allocate_server_credentials(&c->server_psk);
	if (r == 0)
		gnutls.psk_set_server_credentials_function(c->server_psk, give_psk);
	return r;
}

static int load_psk(struct tls_credentials *c, const char *path, struct error *e)
{
	uint8_t *text;
	size_t size;
	int r = read_private(path, PSK_MAX, &text, &size, e);

	if (r < 0)
		return r;
	r = parse_psk(c, path, (const char *)text, e);
	gnutls.memset(text, 0, size);
	free(text);
	if (r < 0)
		return r;
	r = allocate_psk(c);
	return r < 0 ? lacking(e, path, r) : 0;
}

/* ---- Certificates ---- */

struct paths {
	char certificate[PATH_MAX], key[PATH_MAX], authorities[PATH_MAX];
};

static bool place(char out[PATH_MAX], const char *given, const char *folder, const char *file)
{
	if (given)
		return snprintf(out, PATH_MAX, "%s", given) < PATH_MAX;
	return folder && snprintf(out, PATH_MAX, "%s/%s", folder, file) < PATH_MAX;
}

static int find_paths(struct paths *paths, const struct tls_files *files, struct error *e)
{
	if (place(paths->certificate, files->certificate, files->folder, "cert.pem") &&
	    place(paths->key, files->key, files->folder, "key.pem") &&
	    place(paths->authorities, files->authorities, files->folder, "ca.pem"))
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "TLS wants to know who is who: give --tls FOLDER with cert.pem, key.pem and ca.pem, or --tls-cert, "
			 "--tls-key and --tls-ca, or --psk FILE");
}

static int load_authorities(struct tls_credentials *c, const char *path, struct error *e)
{
	gnutls_datum_t pem;
	uint8_t *text;
	size_t size;
	int r = file_read(path, PEM_MAX, &text, &size, e);

	if (r < 0)
		return r;
	pem = (gnutls_datum_t){text, (unsigned)size};
	r = gnutls.certificate_set_x509_trust_mem(c->certificates, &pem, GNUTLS_X509_FMT_PEM);
	free(text);
	if (r <= 0)
		return error_set(e, ERROR_FAILED, -EINVAL, "%.200s: %s", path,
				 r < 0 ? gnutls.strerror(r) : "there is no authority's certificate in it");
	snprintf(c->authorities, sizeof c->authorities, "%.255s", path);
	return 0;
}

static int check_time(const char *path, const gnutls_datum_t *pem, struct error *e)
{
	gnutls_x509_crt_t *list = NULL;
	unsigned count = 0;
	time_t now = time(NULL), from = 0, until = 0;
	int r = gnutls.x509_crt_list_import2(&list, &count, pem, GNUTLS_X509_FMT_PEM, 0);
	char text[32];

	if (r < 0 || count == 0)
		return lacking(e, path, r < 0 ? r : GNUTLS_E_NO_CERTIFICATE_FOUND);
	from = gnutls.x509_crt_get_activation_time(list[0]);
	until = gnutls.x509_crt_get_expiration_time(list[0]);
	for (unsigned i = 0; i < count; i++)
		gnutls.x509_crt_deinit(list[i]);
	(*gnutls.free)(list);
	if (now >= from && now <= until)
		return 0;
	strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", gmtime(now < from ? &from : &until));
	return error_set(e, ERROR_STATE, -EKEYEXPIRED, "%.200s %s %s; get a new certificate, or set this host's clock", path,
			 now < from ? "is not valid before" : "has expired: it was valid until", text);
}

static int load_key(struct tls_credentials *c, const struct paths *paths, const gnutls_datum_t *certificate, struct error *e)
{
	gnutls_datum_t key;
	uint8_t *secret;
	size_t size;
	int r = read_private(paths->key, PEM_MAX, &secret, &size, e);

	if (r < 0)
		return r;
	key = (gnutls_datum_t){secret, (unsigned)size};
	r = gnutls.certificate_set_x509_key_mem(c->certificates, certificate, &key, GNUTLS_X509_FMT_PEM);
	gnutls.memset(secret, 0, size);
	free(secret);
	if (r < 0)
		return error_set(e, ERROR_FAILED, -EINVAL, "%.180s with the key %.180s: %s", paths->certificate, paths->key,
				 gnutls.strerror(r));
	return 0;
}

static int load_pair(struct tls_credentials *c, const struct paths *paths, struct error *e)
{
	gnutls_datum_t certificate;
	uint8_t *text;
	size_t size;
	int r = file_read(paths->certificate, PEM_MAX, &text, &size, e);

	if (r < 0)
		return r;
	certificate = (gnutls_datum_t){text, (unsigned)size};
	r = check_time(paths->certificate, &certificate, e);
	if (r == 0)
		r = load_key(c, paths, &certificate, e);
	free(text);
	return r;
}

static int load_certificates(struct tls_credentials *c, const struct tls_files *files, struct error *e)
{
	struct paths paths;
	int r = find_paths(&paths, files, e);

	if (r < 0)
		return r;
	if (gnutls.certificate_allocate_credentials(&c->certificates) < 0)
		return error_errno(e, -ENOMEM, "credentials");
	r = load_authorities(c, paths.authorities, e);
	return r < 0 ? r : load_pair(c, &paths, e);
}

int tls_credentials_load(struct tls_credentials **out, const struct tls_files *files, bool server, struct error *e)
{
	struct tls_credentials *c;
	int r;

	if (files->psk && (files->folder || files->certificate || files->key || files->authorities))
		return error_set(e, ERROR_USAGE, -EINVAL, "--psk takes the place of certificates; give the one or the others");
	r = gnutls_load(e);
	if (r < 0)
		return r;
	c = calloc(1, sizeof *c);
	if (!c)
		return error_errno(e, -ENOMEM, "credentials");
	c->server = server;
	r = files->psk ? load_psk(c, files->psk, e) : load_certificates(c, files, e);
	if (r < 0)
		tls_credentials_free(c);
	else
		*out = c;
	return r;
}

void tls_credentials_free(struct tls_credentials *c)
{
	if (!c)
		return;
	if (c->certificates)
		gnutls.certificate_free_credentials(c->certificates);
	if (c->client_psk)
		gnutls.psk_free_client_credentials(c->client_psk);
	if (c->server_psk)
		gnutls.psk_free_server_credentials(c->server_psk);
	gnutls.memset(c, 0, sizeof *c);
	free(c);
}
