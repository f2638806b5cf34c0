/* utf8.h: whether bytes are UTF-8. */
#ifndef LLI_BASE_UTF8_H
#define LLI_BASE_UTF8_H

#include "base/defs.h"

bool lli_is_utf8(const void *text, size_t size);

#endif
