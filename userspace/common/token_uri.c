// SPDX-License-Identifier: GPL-2.0-or-later
/* URIs of keys in tokens, see token_uri.h.  p11-kit reads them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token_uri.h"

bool token_uri_is(const char *key)
{
	return key && !strncmp(key, P11_KIT_URI_SCHEME ":", P11_KIT_URI_SCHEME_LEN + 1);
}

const char *token_uri_pin_file(P11KitUri *uri)
{
	const char *source = p11_kit_uri_get_pin_source(uri);

	if (source && !strncmp(source, "file:", 5))
		source += 5;
	if (source && !strncmp(source, "///", 3))
		source += 2; /* a host that is this one */
	return source ? source : "";
}

/* NULL: nothing */
static const char *fault_of(P11KitUri *uri)
{
	const CK_ATTRIBUTE *kind = p11_kit_uri_get_attribute(uri, CKA_CLASS);
	const char *path = p11_kit_uri_get_module_path(uri);
	const char *pin = token_uri_pin_file(uri);

	if (p11_kit_uri_get_pin_value(uri))
		return "its pin-value can be read by whoever reads the configuration: put the PIN into a file, and name that with passphrase or with pin-source=file:/PATH";
	if (p11_kit_uri_any_unrecognized(uri))
		return "it has an attribute that is not known; these are: token, manufacturer, model, serial, object, id, type, module-path, module-name, pin-source";
	if (kind && *(CK_OBJECT_CLASS *)kind->pValue != CKO_PRIVATE_KEY)
		return "its type is not that of a private key (type=private)";
	if (path && path[0] != '/')
		return "its module-path is not an absolute file name";
	if (*pin && pin[0] != '/')
		return "its pin-source is not a file (pin-source=file:/PATH)";
	return NULL;
}

P11KitUri *token_uri_parse(const char *text, char *why, size_t len)
{
	P11KitUri *uri = p11_kit_uri_new();
	const char *fault = NULL;
	int ret;

	if (!uri) {
		snprintf(why, len, "out of memory");
		return NULL;
	}
	ret = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri);
	if (ret != P11_KIT_URI_OK)
		snprintf(why, len, "it is no URI of a key in a token (RFC 7512): %s",
			 p11_kit_uri_message(ret));
	else if ((fault = fault_of(uri)))
		snprintf(why, len, "%s", fault);
	else
		return uri;
	p11_kit_uri_free(uri);
	return NULL;
}

char *token_pin_file(const char *text, const char *passphrase)
{
	char why[512];
	P11KitUri *uri = token_uri_parse(text, why, sizeof(why));
	const char *pin = uri ? token_uri_pin_file(uri) : "";
	char *file = NULL;

	if (*pin)
		file = strdup(pin);
	else if (passphrase && *passphrase)
		file = strdup(passphrase);
	p11_kit_uri_free(uri);
	return file;
}
