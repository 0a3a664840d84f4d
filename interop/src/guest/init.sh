#!/bin/sh
# First process of a guest: file systems, modules, names of the links, then the agent for as long as the guest lives.
# The kernel's command line gives, as environment variables, `harness` (a folder that the host shares, at its own
# path), `modules` (the host's module tree), `address` (of the link `manage`) and `agent` (where the agent listens).
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t hostfs -o "$harness" none "$harness"
mount -t hostfs -o "$modules" none /lib/modules
modprobe -a xfrm_user esp4 esp6 gcm ccm seqiv echainiv
# The first SA of a kind takes seconds of looking for modules: longer than a peer waits.
ip xfrm state add src 127.0.0.2 dst 127.0.0.3 proto esp spi 256 mode tunnel \
    aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f00010203 128
ip xfrm state add src ::2 dst ::3 proto esp spi 256 mode transport flag esn replay-window 32 \
    aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f00010203 128
ip xfrm state flush
ip link set lo up
ip link set vec0 name outer
ip link set vec1 name manage
ip addr add "$address" dev manage
ip link set manage up
exec "$harness/tool" tool agent "$agent"
