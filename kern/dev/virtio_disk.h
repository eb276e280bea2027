/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks on virtio.
 */
#ifndef SPANDREL_DEV_VIRTIO_DISK_H
#define SPANDREL_DEV_VIRTIO_DISK_H

/* Adds the disks there are (disk.h).  Context: as disk_init(). */
void virtio_disk_probe(void);

#endif
