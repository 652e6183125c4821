/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are read line by line: the configuration. */
#ifndef _TLSPORT_TEXT_FILE_H
#define _TLSPORT_TEXT_FILE_H

#include <stdio.h>

/**
 * text_file_open() - open a regular file for reading, or a link to one
 *
 * Return: NULL with errno, for text_file_error(); ENOENT: there is nothing of that name, not even a
 * link that leads nowhere.
 */
FILE *text_file_open(const char *path);

/* What an errno of text_file_open() means. */
const char *text_file_error(int error);

/* The mark that some editors begin a file with, off its first line. */
void text_file_skip_mark(char *line);

#endif /* _TLSPORT_TEXT_FILE_H */
