// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A PKCS#11 module whose token is as slow, and as odd in its errors, as a test asks.
 *
 * Files of the directory FAKE_TOKEN say how, and are read at each call:
 *	key.pem	the key that is in it; the PIN is not looked at
 *	init	"0 MS": C_Initialize takes so long
 *	slots	"N": of them, the token is in the last
 *	session	"RV": what C_OpenSession returns
 *	login	"RV MS": what C_Login returns, and after how long
 *	sign	"RV MS LEN": likewise C_Sign; LEN: only of data that is so long
 *	break	the next signature fails, and all others of its session
 *	wrong	"1": signatures are
 *	tries	"N": of them there are so many before the PIN is locked
 *	sessions "N": there can be no more at the same time
 * A line of its file "log" is a login or a signature that was asked for.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <p11-kit/pkcs11.h>

#define SESSIONS 256
#define KEY	 7

static CK_MECHANISM_TYPE mechanism;
static unsigned char broken[SESSIONS];
static CK_ULONG sessions, open_sessions, found;

static FILE *open_file(const char *name, const char *how)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", getenv("FAKE_TOKEN"), name);
	return fopen(path, how);
}

static void note(const char *what)
{
	FILE *log = open_file("log", "ae");

	if (log) {
		fprintf(log, "%s\n", what);
		fclose(log);
	}
}

/* Waits as it says, and returns what it says. */
static CK_RV behave(const char *name, CK_ULONG len)
{
	unsigned long rv = CKR_OK, ms = 0, only = 0;
	FILE *file = open_file(name, "re");
	int n = file ? fscanf(file, "%lx %lu %lu", &rv, &ms, &only) : 0;

	if (file)
		fclose(file);
	if (n < 1 || (only && only != len))
		return CKR_OK;
	poll(NULL, 0, ms);
	return rv;
}

static CK_RV unsupported(void)
{
	return CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV initialize(void *args)
{
	(void)args;
	return behave("init", 0);
}

static CK_RV finalize(void *reserved)
{
	(void)reserved;
	return CKR_OK;
}

static CK_RV get_info(CK_INFO *info)
{
	memset(info, ' ', sizeof(*info));
	info->cryptokiVersion = (CK_VERSION){ 2, 40 };
	info->flags = 0;
	return CKR_OK;
}

/* That in the file of this name */
static CK_ULONG number_of(const char *name, unsigned long otherwise)
{
	unsigned long number = otherwise;
	FILE *file = open_file(name, "re");

	if (file && fscanf(file, "%lu", &number) != 1)
		number = otherwise;
	if (file)
		fclose(file);
	return number;
}

static CK_ULONG slots(void)
{
	return number_of("slots", 1);
}

static CK_FLAGS flags_of_pin(void)
{
	const CK_ULONG tries = number_of("tries", 100);

	return tries == 0 ? CKF_USER_PIN_LOCKED : tries == 1 ? CKF_USER_PIN_FINAL_TRY : 0;
}

static void use_up_try(void)
{
	const CK_ULONG tries = number_of("tries", 0);
	FILE *file = tries ? open_file("tries", "we") : NULL;

	if (!file)
		return;
	fprintf(file, "%lu", tries - 1);
	fclose(file);
}

static CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count)
{
	const CK_ULONG room = *count, all = slots();

	(void)present;
	*count = all;
	if (list && room < all)
		return CKR_BUFFER_TOO_SMALL;
	for (CK_ULONG i = 0; list && i < all; i++)
		list[i] = i + 1;
	return CKR_OK;
}

static CK_RV get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
	(void)slot;
	memset(info, ' ', sizeof(*info));
	info->flags = CKF_TOKEN_PRESENT;
	return CKR_OK;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	const char *label = slot == slots() ? "fake" : "none";

	memset(info, ' ', sizeof(*info));
	memcpy(info->label, label, 4);
	memcpy(info->serialNumber, "1", 1);
	info->flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED | flags_of_pin();
	return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *arg, CK_NOTIFY notify,
			  CK_SESSION_HANDLE *session)
{
	CK_RV rv = behave("session", 0);

	(void)slot;
	(void)flags;
	(void)arg;
	(void)notify;
	if (rv == CKR_OK && open_sessions >= number_of("sessions", SESSIONS))
		rv = CKR_SESSION_COUNT;
	if (rv != CKR_OK)
		return rv;
	open_sessions++;
	*session = ++sessions % SESSIONS;
	return CKR_OK;
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
	broken[session] = 0;
	open_sessions--;
	return CKR_OK;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len)
{
	CK_RV rv;

	(void)session;
	(void)user;
	(void)pin;
	(void)len;
	note("login");
	rv = behave("login", 0);
	if (rv == CKR_PIN_INCORRECT)
		use_up_try();
	return rv;
}

static CK_RV find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count)
{
	(void)session;
	(void)attributes;
	(void)count;
	found = 0;
	return CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max,
		  CK_ULONG *count)
{
	(void)session;
	(void)max;
	*count = !found++;
	*objects = KEY;
	return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE session)
{
	(void)session;
	return CKR_OK;
}

static EVP_PKEY *read_key(void)
{
	FILE *file = open_file("key.pem", "re");
	EVP_PKEY *key = file ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;

	if (file)
		fclose(file);
	return key;
}

static CK_RV get_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			   CK_ATTRIBUTE *attribute, CK_ULONG count)
{
	EVP_PKEY *key;

	(void)session;
	(void)object;
	if (count != 1 || attribute->type != CKA_KEY_TYPE)
		return CKR_ATTRIBUTE_TYPE_INVALID;
	key = read_key();
	*(CK_KEY_TYPE *)attribute->pValue = EVP_PKEY_is_a(key, "RSA") ? CKK_RSA : CKK_EC;
	EVP_PKEY_free(key);
	return CKR_OK;
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *how, CK_OBJECT_HANDLE object)
{
	(void)session;
	(void)object;
	mechanism = how->mechanism;
	return CKR_OK;
}

/* As r and s */
static CK_ULONG split(EVP_PKEY *key, const unsigned char *der, size_t len, unsigned char *to)
{
	int half = (EVP_PKEY_bits(key) + 7) / 8;
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, len);

	BN_bn2binpad(ECDSA_SIG_get0_r(pair), to, half);
	BN_bn2binpad(ECDSA_SIG_get0_s(pair), to + half, half);
	ECDSA_SIG_free(pair);
	return 2 * half;
}

static void pad(EVP_PKEY_CTX *ctx, size_t len)
{
	if (mechanism == CKM_RSA_PKCS_PSS) {
		EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST);
		EVP_PKEY_CTX_set_signature_md(ctx, len == 32 ? EVP_sha256() :
						   len == 48 ? EVP_sha384() :
							       EVP_sha512());
	} else if (mechanism == CKM_RSA_PKCS) {
		EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING);
	}
}

static CK_RV really_sign(unsigned char *data, CK_ULONG len, unsigned char *to, CK_ULONG *to_len)
{
	EVP_PKEY *key = read_key();
	EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	unsigned char signature[1024];
	size_t signature_len = sizeof(signature);
	CK_RV rv = CKR_FUNCTION_FAILED;

	/* As some do, it has digests cut by whoever asks. */
	if (mechanism == CKM_ECDSA && len > ((size_t)EVP_PKEY_bits(key) + 7) / 8) {
		rv = CKR_DATA_LEN_RANGE;
	} else if (ctx && EVP_PKEY_sign_init(ctx) == 1) {
		pad(ctx, len);
		if (EVP_PKEY_sign(ctx, signature, &signature_len, data, len) == 1) {
			*to_len = signature_len;
			if (mechanism == CKM_ECDSA)
				*to_len = split(key, signature, signature_len, to);
			else
				memcpy(to, signature, signature_len);
			rv = CKR_OK;
		}
	}
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(key);
	return rv;
}

static CK_RV sign(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len, unsigned char *to,
		  CK_ULONG *to_len)
{
	char path[256];
	CK_RV rv;

	note("sign");
	snprintf(path, sizeof(path), "%s/break", getenv("FAKE_TOKEN"));
	if (!unlink(path))
		broken[session] = 1;
	rv = broken[session] ? CKR_GENERAL_ERROR : behave("sign", len);
	if (rv == CKR_OK)
		rv = really_sign(data, len, to, to_len);
	if (rv == CKR_OK && number_of("wrong", 0))
		to[*to_len - 1] ^= 1;
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	static CK_FUNCTION_LIST functions;
	CK_RV (**all)(void) = (CK_RV(**)(void))(void *)&functions.C_Initialize;
	const size_t count = (sizeof(functions) - offsetof(CK_FUNCTION_LIST, C_Initialize)) /
			     sizeof(*all);

	for (size_t i = 0; i < count; i++)
		all[i] = unsupported;
	functions.version = (CK_VERSION){ 2, 40 };
	functions.C_Initialize = initialize;
	functions.C_Finalize = finalize;
	functions.C_GetInfo = get_info;
	functions.C_GetFunctionList = C_GetFunctionList;
	functions.C_GetSlotList = get_slot_list;
	functions.C_GetSlotInfo = get_slot_info;
	functions.C_GetTokenInfo = get_token_info;
	functions.C_OpenSession = open_session;
	functions.C_CloseSession = close_session;
	functions.C_Login = login;
	functions.C_FindObjectsInit = find_init;
	functions.C_FindObjects = find;
	functions.C_FindObjectsFinal = find_final;
	functions.C_GetAttributeValue = get_attribute;
	functions.C_SignInit = sign_init;
	functions.C_Sign = sign;
	*list = &functions;
	return CKR_OK;
}
