/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads the boot information of a multiboot 2 loader.
 *
 * A head, which has the size of all, is followed by tags, each at a multiple of 8 bytes: 4 bytes of
 * type, 4 of length (both counted in it), the rest.  The tag of type 0 is the last.
 */
#include "multiboot.h"

#include "acpi.h"
#include "bytes.h"
#include "lib/panic.h"
#include "lib/string.h"

#define TAG_HEAD_SIZE 8
#define TAG_ALIGN 8

#define TAG_END 0
#define TAG_CMDLINE 1
#define TAG_MODULE 3
#define TAG_MAP 6
#define TAG_RSDP_OLD 14
#define TAG_RSDP_NEW 15

/* From the beginning of a tag. */
#define MODULE_START 8
#define MODULE_END 12
#define MODULE_SIZE_MIN 16
#define MAP_ENTRY_SIZE 8
#define MAP_ENTRIES 16

#define MAP_ENTRY_SIZE_MIN 24

uint32_t multiboot_size(const void *bytes)
{
	return get32(bytes, 0);
}

static const char *read_cmdline(const uint8_t *tag, size_t length, struct multiboot *m)
{
	size_t room = length - TAG_HEAD_SIZE;

	m->cmdline = (const char *)tag + TAG_HEAD_SIZE;
	m->cmdline_size = strnlen(m->cmdline, room);
	return m->cmdline_size < room ? NULL : "the command line has no end";
}

static const char *read_module(const uint8_t *tag, size_t length, struct multiboot *m)
{
	uint32_t start, end;

	if (length < MODULE_SIZE_MIN)
		return "a module is cut off";
	start = get32(tag, MODULE_START);
	end = get32(tag, MODULE_END);
	if (end < start)
		return "a module ends before it starts";
	if (m->module_count == MULTIBOOT_MODULES_MAX)
		return "there are too many modules";
	m->modules[m->module_count++] = (struct memmap_range){start, end - start};
	return NULL;
}

static const char *read_map(const uint8_t *tag, size_t length, struct multiboot *m)
{
	if (length < MAP_ENTRIES)
		return "the memory map is cut off";
	m->map = tag + MAP_ENTRIES;
	m->map_entry_size = get32(tag, MAP_ENTRY_SIZE);
	if (m->map_entry_size < MAP_ENTRY_SIZE_MIN)
		return "the memory map's entries are too short";
	m->map_count = (length - MAP_ENTRIES) / m->map_entry_size;
	return (length - MAP_ENTRIES) % m->map_entry_size == 0 ? NULL : "the memory map is cut off";
}

/* A copy of the root pointer at bytes[at], whose kind has `size` bytes. */
static const char *read_rsdp(size_t at, size_t length, size_t size, struct multiboot *m)
{
	if (length - TAG_HEAD_SIZE < size)
		return "the root pointer is cut off";
	if (size > m->rsdp_size) {
		m->rsdp = at + TAG_HEAD_SIZE;
		m->rsdp_size = size;
	}
	return NULL;
}

/* Reads the tag at bytes[at], all of whose `length` bytes are there. */
static const char *read_tag(const uint8_t *bytes, size_t at, size_t length, struct multiboot *m)
{
	switch (get32(bytes, at)) {
	case TAG_CMDLINE:
		return read_cmdline(bytes + at, length, m);
	case TAG_MODULE:
		return read_module(bytes + at, length, m);
	case TAG_MAP:
		return read_map(bytes + at, length, m);
	case TAG_RSDP_OLD:
		return read_rsdp(at, length, ACPI_RSDP_SIZE_MIN, m);
	case TAG_RSDP_NEW:
		return read_rsdp(at, length, ACPI_RSDP_SIZE, m);
	default:
		return NULL;
	}
}

/* Reads the tags up to the last one, which must begin before `size`. */
static const char *read_tags(const uint8_t *bytes, size_t size, struct multiboot *m)
{
	size_t at = MULTIBOOT_HEAD_SIZE;

	while (at < size && size - at >= TAG_HEAD_SIZE) {
		uint32_t length = get32(bytes, at + 4);
		const char *wrong;

		if (length < TAG_HEAD_SIZE || length > size - at)
			return "a tag's length is wrong";
		if (get32(bytes, at) == TAG_END)
			return NULL;
		wrong = read_tag(bytes, at, length, m);
		if (wrong)
			return wrong;
		at += ((size_t)length + TAG_ALIGN - 1) & ~(size_t)(TAG_ALIGN - 1);
	}
	return "its last tag is missing";
}

const char *multiboot_read(const void *bytes, size_t size, struct multiboot *m)
{
	const char *wrong;

	*m = (struct multiboot){.cmdline = ""};
	if (size < MULTIBOOT_HEAD_SIZE || multiboot_size(bytes) > size)
		return "it is longer than what can be read";
	wrong = read_tags(bytes, multiboot_size(bytes), m);
	if (wrong)
		return wrong;
	return m->map_count > 0 ? NULL : "it has no memory map";
}

struct memmap_entry multiboot_map_entry(const struct multiboot *m, size_t i)
{
	const uint8_t *entry;

	if (i >= m->map_count)
		panic("multiboot: entry %zu of %zu is asked for (called from %pS)", i, m->map_count,
			__builtin_return_address(0));
	entry = m->map + i * m->map_entry_size;
	return (struct memmap_entry){get64(entry, 0), get64(entry, 8), get32(entry, 16)};
}
