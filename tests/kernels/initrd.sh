#!/bin/bash
# initrd.sh MODULES OUT: an initramfs that finds both disks and starts what is to be run on them as process 1.
# /dev/vda is the root, /dev/vdb the checkout, at the path it was made at (rover.checkout= of the command line).
set -euo pipefail
modules=$1 out=$2
release=$(basename "$modules")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/base/lib/modules "$work"/tree/{bin,modules,proc,sys,dev,root}
ln -s "$(realpath "$modules")" "$work/base/lib/modules/$release"
cp "$(command -v busybox)" "$work/tree/bin/"

number=100 # insmod in the order modprobe would
for module in crc32c_generic virtio_pci virtio_blk ext4; do
    modprobe -d "$work/base" -S "$release" --show-depends "$module" 2>/dev/null || true # built in, or of another line
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
    name=$number-$(basename "$file")
    case $file in
        *.xz) xz -dc "$file" >"$work/tree/modules/${name%.xz}" ;;
        *.zst) zstd -qdc "$file" >"$work/tree/modules/${name%.zst}" ;;
        *) cp "$file" "$work/tree/modules/$name" ;;
    esac
    number=$((number + 1))
done

cat >"$work/tree/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module || echo "insmod $module failed"; done
i=0; while [ ! -b /dev/vdb ] && [ $i -lt 300 ]; do $b sleep 0.1; i=$((i + 1)); done
for word in $($b cat /proc/cmdline); do case $word in rover.checkout=*) checkout=${word#*=} ;; esac; done
$b mount -t ext4 -o rw,noatime /dev/vda /root || echo "no root"
$b mkdir -p /root$checkout
$b mount -t ext4 -o rw,noatime /dev/vdb /root$checkout || echo "no checkout"
for each in proc sys dev; do $b mount --move /$each /root/$each; done
exec $b switch_root /root $checkout/.venv/bin/python $checkout/tests/kernels/guest.py $checkout
INIT
chmod +x "$work/tree/init"
(cd "$work/tree" && find . | cpio -o -H newc 2>/dev/null) | gzip -1 >"$out"
