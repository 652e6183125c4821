// SPDX-License-Identifier: GPL-2.0-or-later
/* The way from http to https, see plain_http.h; RFC 9110 and RFC 9112. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "plain_http.h"

/* A part of the head. */
struct part {
	const char *at;
	size_t len;
};

static bool is(struct part part, const char *text)
{
	return part.len == strlen(text) && !strncasecmp(part.at, text, part.len);
}

static bool begins(struct part part, const char *text)
{
	return part.len >= strlen(text) && !strncasecmp(part.at, text, strlen(text));
}

static struct part behind(struct part part, size_t len)
{
	return (struct part){ part.at + len, part.len - len };
}

/* Up to a byte, which is taken away with it; all when it is not there. */
static struct part take(struct part *rest, char end)
{
	const char *at = memchr(rest->at, end, rest->len);
	struct part part = { rest->at, at ? (size_t)(at - rest->at) : rest->len };

	*rest = behind(*rest, part.len + (at != NULL));
	return part;
}

static struct part take_line(struct part *rest)
{
	struct part line = take(rest, '\n');

	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static struct part trim(struct part part)
{
	while (part.len && (part.at[0] == ' ' || part.at[0] == '\t'))
		part = behind(part, 1);
	while (part.len && (part.at[part.len - 1] == ' ' || part.at[part.len - 1] == '\t'))
		part.len--;
	return part;
}

static bool is_method(struct part part)
{
	for (size_t i = 0; i < part.len; i++)
		if (part.at[i] < 'A' || part.at[i] > 'Z')
			return false;
	return part.len > 0 && part.len <= 16;
}

/* Of a URI, with nothing that would end the line or the address. */
static bool is_target(struct part part)
{
	for (size_t i = 0; i < part.len; i++)
		if (part.at[i] <= ' ' || part.at[i] >= 0x7f || strchr("\"<>\\^`{|}", part.at[i]))
			return false;
	return part.len > 0 && part.at[0] == '/';
}

/* Name or address, without its port. */
static bool is_host(struct part part)
{
	for (size_t i = 0; i < part.len; i++)
		if (!part.at[i] ||
		    (!isalnum((unsigned char)part.at[i]) && !strchr("-._[]:", part.at[i])))
			return false;
	return part.len > 0 && part.len <= 255;
}

static struct part without_port(struct part authority)
{
	const char *end = authority.at + authority.len, *colon;

	if (authority.len && authority.at[0] == '[') { /* IPv6 */
		const char *bracket = memchr(authority.at, ']', authority.len);

		return (struct part){ authority.at,
				      bracket ? (size_t)(bracket + 1 - authority.at) : 0 };
	}
	colon = authority.len ? memchr(authority.at, ':', authority.len) : NULL;
	return (struct part){ authority.at, (size_t)((colon ? colon : end) - authority.at) };
}

/* Length of the head with the empty line that ends it; 0: it is not whole. */
static size_t head_len(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n')
			continue;
		if (i + 1 < len && text[i + 1] == '\n')
			return i + 2;
		if (i + 2 < len && text[i + 1] == '\r' && text[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

static struct part find_host(struct part rest)
{
	while (rest.len) {
		struct part value = take_line(&rest), name = take(&value, ':');

		if (is(name, "host"))
			return trim(value);
	}
	return (struct part){ NULL, 0 };
}

/* Could this become a request?  The first line as far as it is there. */
static bool may_be_request(struct part rest)
{
	const char *blank = memchr(rest.at, ' ', rest.len);
	struct part method = { rest.at, blank ? (size_t)(blank - rest.at) : rest.len };

	return is_method(method);
}

enum plain_http plain_http_redirect(const uint8_t *data, size_t len, uint16_t port, char *answer,
				    size_t *answer_len)
{
	struct part head = { (const char *)data, len }, line, method, target, host;
	char suffix[8] = "";
	bool get;

	if (!may_be_request(head))
		return PLAIN_HTTP_NOT;
	head.len = head_len(head.at, len);
	if (!head.len)
		return len < PLAIN_HTTP_MAX ? PLAIN_HTTP_MORE : PLAIN_HTTP_NOT;
	if (head.len > PLAIN_HTTP_MAX)
		return PLAIN_HTTP_NOT;
	line = take_line(&head);
	method = take(&line, ' ');
	target = take(&line, ' ');
	host = find_host(head);
	if (begins(target, "http://")) { /* as a proxy gets it */
		host = target = behind(target, strlen("http://"));
		host.len = strcspn(target.at, "/ \r\n");
		target = behind(target, host.len);
		if (!target.len)
			target = (struct part){ "/", 1 };
	} else if (is(target, "*")) {
		target = (struct part){ "/", 1 };
	}
	host = without_port(host);
	if (!begins(line, "HTTP/1.") || !is_target(target) || !is_host(host))
		return PLAIN_HTTP_NOT;
	if (port != 443)
		snprintf(suffix, sizeof(suffix), ":%u", port);
	get = is(method, "GET") || is(method, "HEAD");
	*answer_len = snprintf(answer, PLAIN_HTTP_ANSWER_MAX,
			       "HTTP/1.1 %s\r\nLocation: https://%.*s%s%.*s\r\n"
			       "Content-Length: 0\r\nConnection: close\r\n\r\n",
			       get ? "301 Moved Permanently" : "308 Permanent Redirect",
			       (int)host.len, host.at, suffix, (int)target.len, target.at);
	return PLAIN_HTTP_ANSWER;
}
