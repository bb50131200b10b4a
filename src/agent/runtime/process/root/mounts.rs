//! The few mount calls the others are made of, all by descriptor.

use super::{Result, failed};
use crate::kit::os::add_mount_attributes;
use rustix::{
    fs::{Mode, OFlags, fstat, openat},
    io::Errno,
    mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// Neither set-id bits nor devices nor programs.
pub(super) fn quiet() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

pub(super) fn set_read_only(tree: &OwnedFd) -> io::Result<()> {
    add_mount_attributes(tree, false, quiet() | MountAttrFlags::MOUNT_ATTR_RDONLY)
}

pub(super) fn clone_tree(
    at: impl AsFd,
    path: impl rustix::path::Arg,
) -> std::result::Result<OwnedFd, Errno> {
    // Always with what is mounted below: in a user namespace the kernel keeps trees together, so that nobody looks
    // under a mount.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_NO_AUTOMOUNT;
    open_tree(at, path, flags)
}

pub(super) fn attach(
    tree: &OwnedFd,
    dir: &OwnedFd,
    name: impl rustix::path::Arg,
) -> std::result::Result<(), Errno> {
    move_mount(tree, "", dir, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

pub(super) fn attach_at(tree: &OwnedFd, seat: &OwnedFd) -> std::result::Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", seat, "", flags)
}

pub(super) fn make_file(
    dir: &OwnedFd,
    name: impl rustix::path::Arg,
) -> std::result::Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(dir, name, flags, Mode::from_bits_truncate(0o444)).map(drop)
}

pub(super) fn open_dir(
    at: impl AsFd,
    path: impl rustix::path::Arg,
) -> std::result::Result<OwnedFd, Errno> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

pub(super) fn device(fd: impl AsFd) -> Result<u64> {
    Ok(fstat(fd).map_err(failed("look at a mount"))?.st_dev)
}
