/*
 * MD5 (RFC 1321): dpkg's database tells by it whether a configuration file was changed. Not for security.
 *
 * Thread: any.
 */
#ifndef DOPPEL_IMAGE_MD5_H
#define DOPPEL_IMAGE_MD5_H

#include <stddef.h>

#define MD5_TEXT_SIZE 33 /* hexadecimal, with the NUL */

void md5_text(const void *bytes, size_t size, char out[MD5_TEXT_SIZE]);

#endif
