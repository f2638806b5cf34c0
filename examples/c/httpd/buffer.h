/* buffer.h: bytes that grow at their end, and the JSON text that the answers are made of. Without memory the
 * program ends, as libuv and most servers do. */
#ifndef HTTPD_BUFFER_H
#define HTTPD_BUFFER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct buffer {
    char *data;
    size_t size, room;
} buffer;

static inline void *checked(void *memory)
{
    if (!memory) {
        fputs("httpd: out of memory\n", stderr);
        abort();
    }
    return memory;
}

/* Room for `more` bytes behind the end. */
static inline char *buffer_reserve(buffer *self, size_t more)
{
    if (self->room - self->size < more) {
        size_t room = self->room ? self->room * 2 : 256;
        while (room - self->size < more)
            room *= 2;
        self->data = checked(realloc(self->data, room));
        self->room = room;
    }
    return self->data + self->size;
}

static inline void buffer_add(buffer *self, const void *data, size_t size)
{
    if (size == 0)
        return;
    memcpy(buffer_reserve(self, size), data, size);
    self->size += size;
}

static inline void buffer_text(buffer *self, const char *text)
{
    buffer_add(self, text, strlen(text));
}

static inline void buffer_number(buffer *self, int64_t number)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%lld", (long long)number);
    buffer_add(self, text, (size_t)size);
}

/* A JSON string, quotes included. The text is UTF-8. */
static inline void buffer_json(buffer *self, const char *text, size_t size)
{
    buffer_text(self, "\"");
    size_t done = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        char escaped[8];
        int n = c == '"' || c == '\\' ? snprintf(escaped, sizeof escaped, "\\%c", c)
                                      : snprintf(escaped, sizeof escaped, "\\u%04x", c);
        buffer_add(self, text + done, i - done);
        buffer_add(self, escaped, (size_t)n);
        done = i + 1;
    }
    buffer_add(self, text + done, size - done);
    buffer_text(self, "\"");
}

/* Takes bytes away from the front. */
static inline void buffer_drop(buffer *self, size_t size)
{
    self->size -= size;
    if (self->size > 0)
        memmove(self->data, self->data + size, self->size);
}

static inline void buffer_free(buffer *self)
{
    free(self->data);
    *self = (buffer){0};
}

#endif
