// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A token and its keys, see token.h.
 *
 * The login is that of the process: it lasts as long as one session is open, which
 * the one in struct token is.  p11-kit makes calls of several threads safe.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <p11-kit/p11-kit.h>

#include "pin_record.h"
#include "refuse.h"
#include "text_file.h"
#include "token.h"
#include "token_uri.h"

#define PIN_MAX	  256
#define LABEL_LEN 32 /* padded with blanks, see struct ck_token_info */
#define NAMES_LEN 256

struct token {
	char *text;
	P11KitUri *uri;
	CK_FUNCTION_LIST **modules; /* those of p11-kit's configuration, or NULL */
	CK_FUNCTION_LIST *module;   /* the token's */
	CK_SLOT_ID slot;
	CK_TOKEN_INFO info;
	CK_SESSION_HANDLE login;
	atomic_size_t curve_len; /* bytes of a number, 0: no signature has shown it */
};

struct token_session {
	struct token *token;
	CK_SESSION_HANDLE handle;
	CK_OBJECT_HANDLE key;
	CK_KEY_TYPE type;
};

static int label_len(const CK_TOKEN_INFO *info)
{
	int len = LABEL_LEN;

	while (len && info->label[len - 1] == ' ')
		len--;
	return len;
}

/* What of them fits the URI is counted; the last one is kept. */
struct found {
	unsigned int count;
	char names[NAMES_LEN];
};

static void look_at(struct token *token, CK_FUNCTION_LIST *module, CK_SLOT_ID slot,
		    struct found *found)
{
	size_t at = strlen(found->names);
	CK_TOKEN_INFO info;

	if (module->C_GetTokenInfo(slot, &info) != CKR_OK ||
	    !(info.flags & CKF_TOKEN_INITIALIZED) ||
	    !p11_kit_uri_match_token_info(token->uri, &info))
		return;
	found->count++;
	snprintf(found->names + at, sizeof(found->names) - at, "%s%.*s", at ? ", " : "",
		 label_len(&info), info.label);
	token->module = module;
	token->slot = slot;
	token->info = info;
}

static void look_into(struct token *token, CK_FUNCTION_LIST *module, struct found *found)
{
	const CK_SLOT_ID only = p11_kit_uri_get_slot_id(token->uri);
	CK_ULONG count = 0;
	CK_SLOT_ID *slots = NULL;
	CK_SLOT_INFO info;
	CK_RV rv;

	/* There may be more of them the second time. */
	do {
		rv = module->C_GetSlotList(CK_TRUE, NULL, &count);
		free(slots);
		slots = calloc(count + 1, sizeof(*slots));
		if (rv == CKR_OK && slots)
			rv = module->C_GetSlotList(CK_TRUE, slots, &count);
	} while (slots && rv == CKR_BUFFER_TOO_SMALL);
	for (CK_ULONG i = 0; slots && rv == CKR_OK && i < count; i++)
		if ((only == (CK_SLOT_ID)-1 || only == slots[i]) &&
		    module->C_GetSlotInfo(slots[i], &info) == CKR_OK &&
		    p11_kit_uri_match_slot_info(token->uri, &info))
			look_at(token, module, slots[i], found);
	free(slots);
}

static int load_path(struct token *token, const char *path, struct found *found, char *err,
		     size_t errlen)
{
	CK_FUNCTION_LIST *module = p11_kit_module_load(path, 0);
	CK_RV rv;

	if (!module)
		return refuse(err, errlen, "%s: the module %s cannot be loaded: %s", token->text,
			      path, p11_kit_message() ? p11_kit_message() : "no PKCS#11 module");
	rv = p11_kit_module_initialize(module);
	if (rv != CKR_OK)
		return refuse(err, errlen, "%s: the module %s does not start: %s", token->text,
			      path, p11_kit_strerror(rv));
	look_into(token, module, found);
	return 0;
}

/* Those that p11-kit knows by /etc/pkcs11 and /usr/share/p11-kit. */
static int load_known(struct token *token, const char *name, struct found *found, char *err,
		      size_t errlen)
{
	CK_FUNCTION_LIST *named = NULL;

	token->modules = p11_kit_modules_load_and_initialize(0);
	if (!token->modules)
		return refuse(err, errlen, "%s: p11-kit cannot load its modules: %s", token->text,
			      p11_kit_message() ? p11_kit_message() : "unknown");
	if (name) {
		named = p11_kit_module_for_name(token->modules, name);
		if (!named)
			return refuse(
				err, errlen,
				"%s: p11-kit has no module '%s' that could be loaded ('p11-kit list-modules' shows them; module-path=/FILE takes any)",
				token->text, name);
		look_into(token, named, found);
		return 0;
	}
	for (size_t i = 0; token->modules[i]; i++)
		look_into(token, token->modules[i], found);
	return 0;
}

static int find_token(struct token *token, char *err, size_t errlen)
{
	const char *path = p11_kit_uri_get_module_path(token->uri);
	struct found found = { 0 };
	int ret;

	if (path)
		ret = load_path(token, path, &found, err, errlen);
	else
		ret = load_known(token, p11_kit_uri_get_module_name(token->uri), &found, err,
				 errlen);
	if (ret)
		return -1;
	if (!found.count)
		return refuse(err, errlen, "%s: there is no such token", token->text);
	if (found.count > 1)
		return refuse(err, errlen, "%s: several tokens fit, name one (token=): %s",
			      token->text, found.names);
	return 0;
}

/* Looks at the file that it reads: it may be replaced meanwhile. */
static int read_pin(const char *text, const char *file, char pin[PIN_MAX], struct stat *st,
		    char *err, size_t errlen)
{
	FILE *stream = text_file_open(file);
	size_t len;
	char *line;

	if (!stream || fstat(fileno(stream), st)) {
		refuse(err, errlen, "%s: its PIN: %s: %s", text, file, text_file_error(errno));
		if (stream)
			fclose(stream);
		return -1;
	}
	setvbuf(stream, NULL, _IONBF, 0); /* no copy of it is left */
	line = fgets(pin, PIN_MAX, stream);
	fclose(stream);
	len = line ? strcspn(line, "\r\n") : 0;
	if (!len)
		return refuse(err, errlen, "%s: there is no PIN in the first line of %s", text,
			      file);
	if (len == PIN_MAX - 1)
		return refuse(err, errlen,
			      "%s: the first line of %s is no PIN: it may have %d bytes", text,
			      file, PIN_MAX - 2);
	pin[len] = '\0';
	return 0;
}

/* A token counts wrong PINs and locks: what could be the last try is not ours. */
static int may_try(const struct token *token, const char *pin_file, char *err, size_t errlen)
{
	const CK_FLAGS flags = token->info.flags;

	if (!pin_file)
		return refuse(
			err, errlen,
			"%s: the token asks for a PIN: name a file that has it (passphrase, or pin-source in the URI)",
			token->text);
	if (flags & CKF_USER_PIN_LOCKED)
		return refuse(
			err, errlen,
			"%s: the PIN is locked: the security officer of the token unlocks it, with the token's own tool",
			token->text);
	if (flags & CKF_USER_PIN_FINAL_TRY)
		return refuse(
			err, errlen,
			"%s: the token allows one more PIN before it locks, which is not tried: log in yourself with the right one ('p11tool --login --list-all'), then it allows more",
			token->text);
	return 0;
}

/* The name of the token's record: what it is called by its maker, and by its owner. */
static void record_name(const CK_TOKEN_INFO *info, char name[2 * sizeof(CK_TOKEN_INFO)])
{
	for (size_t i = 0; i < sizeof(info->serialNumber); i++)
		name += sprintf(name, "%02x", info->serialNumber[i]);
	for (size_t i = 0; i < sizeof(info->label); i++)
		name += sprintf(name, "%02x", info->label[i]);
}

/*
 * Has the token not come to look at the PIN?  All else may count as a wrong one: a device
 * that fails, or is taken out, has counted before it compares.
 */
static bool is_untried(CK_RV rv)
{
	return rv == CKR_TOKEN_NOT_PRESENT || rv == CKR_HOST_MEMORY || rv == CKR_SESSION_CLOSED ||
	       rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_CRYPTOKI_NOT_INITIALIZED ||
	       rv == CKR_USER_PIN_NOT_INITIALIZED || rv == CKR_USER_TYPE_INVALID;
}

/* While this process waited for its turn others may have used up what there was of tries. */
static int may_still_try(struct token *token, const char *pin_file, char *err, size_t errlen)
{
	CK_RV rv = token->module->C_GetTokenInfo(token->slot, &token->info);

	if (rv != CKR_OK)
		return refuse(err, errlen, "%s: the token cannot be looked at: %s", token->text,
			      p11_kit_strerror(rv));
	return may_try(token, pin_file, err, errlen);
}

/* Who started us may end meanwhile, and we with it, but not before the try is crossed out. */
static CK_RV try_pin(struct token *token, const char *pin, struct pin_record *record)
{
	int sig = 0;
	CK_RV rv;

	prctl(PR_GET_PDEATHSIG, &sig);
	prctl(PR_SET_PDEATHSIG, 0);
	rv = token->module->C_Login(token->login, CKU_USER, (unsigned char *)pin, strlen(pin));
	if (rv == CKR_USER_ALREADY_LOGGED_IN)
		rv = CKR_OK;
	pin_record_end(record, rv != CKR_OK && !is_untried(rv));
	prctl(PR_SET_PDEATHSIG, sig);
	return rv;
}

static int log_in_once(struct token *token, const char *pin_file, const char *run_dir,
		       const char *pin, const struct stat *st, void (*on_wait)(bool waits),
		       char *err, size_t errlen)
{
	static const char way_out[] =
		"it is not tried again until that file changes (once it is right, 'touch' it)";
	char name[2 * sizeof(CK_TOKEN_INFO)], why[512];
	struct pin_record record;
	CK_RV rv;

	record_name(&token->info, name);
	if (pin_record_begin(run_dir, name, st, &record, on_wait, why, sizeof(why)))
		return refuse(err, errlen, "%s: the PIN in %s: %s: %s", token->text, pin_file, why,
			      way_out);
	if (may_still_try(token, pin_file, err, errlen)) {
		pin_record_end(&record, false);
		return -1;
	}
	rv = try_pin(token, pin, &record);
	if (rv == CKR_OK)
		return 0;
	if (is_untried(rv))
		return refuse(err, errlen, "%s: login: %s", token->text, p11_kit_strerror(rv));
	return refuse(err, errlen, "%s: the token refuses the PIN in %s (%s): %s", token->text,
		      pin_file, p11_kit_strerror(rv), way_out);
}

static int log_in(struct token *token, const char *pin_file, const char *run_dir,
		  void (*on_wait)(bool waits), char *err, size_t errlen)
{
	char pin[PIN_MAX];
	struct stat st;
	int ret;
	CK_RV rv;

	rv = token->module->C_OpenSession(token->slot, CKF_SERIAL_SESSION, NULL, NULL,
					  &token->login);
	if (rv != CKR_OK)
		return refuse(err, errlen, "%s: no session with the token: %s", token->text,
			      p11_kit_strerror(rv));
	if (!(token->info.flags & CKF_LOGIN_REQUIRED))
		return 0;
	if (may_try(token, pin_file, err, errlen))
		return -1;
	ret = read_pin(token->text, pin_file, pin, &st, err, errlen);
	if (!ret)
		ret = log_in_once(token, pin_file, run_dir, pin, &st, on_wait, err, errlen);
	explicit_bzero(pin, sizeof(pin));
	return ret;
}

struct token *token_open(const char *uri, const char *pin_file, const char *run_dir,
			 void (*on_wait)(bool waits), char *err, size_t errlen)
{
	struct token *token = calloc(1, sizeof(*token));
	char why[512] = "out of memory";

	if (token)
		token->text = strdup(uri);
	if (token && token->text)
		token->uri = token_uri_parse(uri, why, sizeof(why));
	if (!token || !token->uri) {
		refuse(err, errlen, "key: %s", why); /* without the URI: there may be a PIN in it */
		goto fail;
	}
	if (!find_token(token, err, errlen) &&
	    !log_in(token, pin_file, run_dir, on_wait, err, errlen))
		return token;
fail:
	token_close(token);
	return NULL;
}

static CK_ULONG key_template(struct token *token, CK_OBJECT_CLASS *kind, CK_ATTRIBUTE *attributes)
{
	const CK_ATTRIBUTE_TYPE named[] = { CKA_LABEL, CKA_ID };
	CK_ULONG count = 0;

	attributes[count++] = (CK_ATTRIBUTE){ CKA_CLASS, kind, sizeof(*kind) };
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		const CK_ATTRIBUTE *one = p11_kit_uri_get_attribute(token->uri, named[i]);

		if (one)
			attributes[count++] = *one;
	}
	return count;
}

static int find_key(struct token_session *session, char *err, size_t errlen)
{
	struct token *token = session->token;
	CK_FUNCTION_LIST *module = token->module;
	CK_OBJECT_CLASS kind = CKO_PRIVATE_KEY;
	CK_OBJECT_HANDLE keys[2];
	CK_ATTRIBUTE attributes[3];
	CK_ULONG count = 0;
	CK_RV rv;

	rv = module->C_FindObjectsInit(session->handle, attributes,
				       key_template(token, &kind, attributes));
	if (rv == CKR_OK) {
		rv = module->C_FindObjects(session->handle, keys, 2, &count);
		module->C_FindObjectsFinal(session->handle);
	}
	if (rv != CKR_OK)
		return refuse(err, errlen, "%s: keys cannot be looked for: %s", token->text,
			      p11_kit_strerror(rv));
	if (count != 1)
		return refuse(err, errlen, "%s: %s in the token '%.*s'", token->text,
			      count ? "several private keys fit, name one (object= or id=)" :
				      "there is no such private key",
			      label_len(&token->info), token->info.label);
	session->key = keys[0];
	return 0;
}

static int look_at_key(struct token_session *session, char *err, size_t errlen)
{
	struct token *token = session->token;
	CK_BBOOL always = CK_FALSE;
	CK_ATTRIBUTE type = { CKA_KEY_TYPE, &session->type, sizeof(session->type) };
	CK_ATTRIBUTE each = { CKA_ALWAYS_AUTHENTICATE, &always, sizeof(always) };
	CK_RV rv;

	rv = token->module->C_GetAttributeValue(session->handle, session->key, &type, 1);
	if (rv != CKR_OK)
		return refuse(err, errlen, "%s: the key cannot be looked at: %s", token->text,
			      p11_kit_strerror(rv));
	if (session->type != CKK_RSA && session->type != CKK_EC)
		return refuse(err, errlen, "%s: it is neither ECDSA nor RSA: only these are served",
			      token->text);
	/* Older modules do not know it. */
	if (token->module->C_GetAttributeValue(session->handle, session->key, &each, 1) == CKR_OK &&
	    always)
		return refuse(
			err, errlen,
			"%s: the key asks for the PIN before each signature (CKA_ALWAYS_AUTHENTICATE): it cannot serve",
			token->text);
	return 0;
}

struct token_session *token_session(struct token *token, enum token_fault *fault, char *err,
				    size_t errlen)
{
	struct token_session *session = calloc(1, sizeof(*session));
	CK_RV rv;

	*fault = TOKEN_FAILS;
	if (!session) {
		refuse(err, errlen, "%s: out of memory", token->text);
		return NULL;
	}
	session->token = token;
	rv = token->module->C_OpenSession(token->slot, CKF_SERIAL_SESSION, NULL, NULL,
					  &session->handle);
	if (rv != CKR_OK) {
		if (rv == CKR_SESSION_COUNT || rv == CKR_HOST_MEMORY)
			*fault = TOKEN_FULL;
		refuse(err, errlen, "%s: no session with the token: %s", token->text,
		       p11_kit_strerror(rv));
		free(session);
		return NULL;
	}
	if (!find_key(session, err, errlen) && !look_at_key(session, err, errlen))
		return session;
	token_session_end(session);
	return NULL;
}

static const struct {
	size_t len;
	CK_RSA_PKCS_PSS_PARAMS params;
} pss_hashes[] = {
	{ 32, { CKM_SHA256, CKG_MGF1_SHA256, 32 } },
	{ 48, { CKM_SHA384, CKG_MGF1_SHA384, 48 } },
	{ 64, { CKM_SHA512, CKG_MGF1_SHA512, 64 } },
};

bool token_can(const struct token_session *session, enum token_how how)
{
	return (how == TOKEN_ECDSA) == (session->type == CKK_EC);
}

/* -1: the key, or the hash, is not for it */
static int choose_mechanism(const struct token_session *session, enum token_how how, size_t len,
			    CK_MECHANISM *mechanism)
{
	if (!token_can(session, how))
		return -1;
	*mechanism = (CK_MECHANISM){ how == TOKEN_ECDSA ? CKM_ECDSA : CKM_RSA_PKCS, NULL, 0 };
	if (how != TOKEN_RSA_PSS)
		return 0;
	for (size_t i = 0; i < sizeof(pss_hashes) / sizeof(pss_hashes[0]); i++)
		if (pss_hashes[i].len == len) {
			*mechanism = (CK_MECHANISM){ CKM_RSA_PKCS_PSS,
						     (void *)&pss_hashes[i].params,
						     sizeof(pss_hashes[i].params) };
			return 0;
		}
	return -1;
}

/* Modules answer with all sorts of errors: nothing is made of those that are not listed. */
static enum token_fault fault_of(CK_RV rv)
{
	switch (rv) {
	case CKR_MECHANISM_INVALID:
	case CKR_MECHANISM_PARAM_INVALID:
	case CKR_KEY_TYPE_INCONSISTENT:
	case CKR_KEY_FUNCTION_NOT_PERMITTED:
	case CKR_KEY_SIZE_RANGE:
	case CKR_DATA_INVALID:
	case CKR_DATA_LEN_RANGE:
	case CKR_ARGUMENTS_BAD:
		return TOKEN_REFUSES;
	case CKR_DEVICE_REMOVED:
	case CKR_TOKEN_NOT_PRESENT:
	case CKR_DEVICE_ERROR:
	case CKR_SESSION_CLOSED:
	case CKR_SESSION_HANDLE_INVALID:
	case CKR_USER_NOT_LOGGED_IN:
	case CKR_KEY_HANDLE_INVALID:
	case CKR_OBJECT_HANDLE_INVALID:
	case CKR_CRYPTOKI_NOT_INITIALIZED:
		return TOKEN_LOST;
	default:
		return TOKEN_FAILS;
	}
}

int token_sign(struct token_session *session, enum token_how how, const uint8_t *data, size_t len,
	       uint8_t *to, enum token_fault *fault, char *err, size_t errlen)
{
	struct token *token = session->token;
	const size_t curve_len = atomic_load(&token->curve_len);
	CK_ULONG signature_len = TOKEN_SIGNATURE_MAX;
	CK_MECHANISM mechanism;
	CK_RV rv;

	*fault = TOKEN_REFUSES;
	if (choose_mechanism(session, how, len, &mechanism))
		return refuse(err, errlen, "%s: it is a key of another type than the certificate's",
			      token->text);
	if (how == TOKEN_ECDSA && curve_len && len > curve_len)
		len = curve_len;
	rv = token->module->C_SignInit(session->handle, &mechanism, session->key);
	if (rv == CKR_OK)
		rv = token->module->C_Sign(session->handle, (unsigned char *)data, len, to,
					   &signature_len);
	if (rv == CKR_OK) {
		if (how == TOKEN_ECDSA)
			atomic_store(&token->curve_len, signature_len / 2);
		return signature_len;
	}
	*fault = fault_of(rv);
	return refuse(err, errlen, "%s: the token does not sign%s: %s", token->text,
		      how == TOKEN_RSA_PSS ? " with RSA-PSS" : "", p11_kit_strerror(rv));
}

void token_session_end(struct token_session *session)
{
	if (!session)
		return;
	session->token->module->C_CloseSession(session->handle);
	free(session);
}

void token_close(struct token *token)
{
	if (!token)
		return;
	if (token->modules) {
		p11_kit_modules_finalize_and_release(token->modules);
	} else if (token->module) {
		p11_kit_module_finalize(token->module);
		p11_kit_module_release(token->module);
	}
	p11_kit_uri_free(token->uri);
	free(token->text);
	free(token);
}
