//! The system as it is.

use super::{Disk, System};
use crate::device::scan::{Presence, scan};
use crate::device::{DeviceError, linux};
use crate::source::LiveError;
use crate::source::camera::offered;
use crate::source::v4l2::V4l2;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Linux, with its `/dev` below `root`.
pub struct Linux {
    pub root: PathBuf,
    /// The value of `PATH`.
    pub path: OsString,
}

impl Linux {
    fn below(&self, device: &Path) -> PathBuf {
        self.root.join(device.strip_prefix("/").unwrap_or(device))
    }
}

impl System for Linux {
    fn camera(&mut self, device: &Path) -> Result<Vec<[u8; 4]>, LiveError> {
        offered(&mut V4l2::default(), &self.below(device))
    }

    fn scan(&mut self, bus: &str) -> Result<Vec<Presence>, DeviceError> {
        let path = self.below(Path::new(bus)).display().to_string();
        let mut opened = linux::open_bus(&path)?;
        scan(&mut opened, bus, linux::BusError::is_held)
    }

    fn chips(&mut self) -> Vec<(String, Result<String, DeviceError>)> {
        linux::chips(&self.root.join("dev"))
    }

    fn may_use(&mut self, device: &Path) -> bool {
        let both = AccessFlags::R_OK | AccessFlags::W_OK;
        access(&self.below(device), both).is_ok()
    }

    fn disk(&mut self, folder: &Path) -> io::Result<Disk> {
        let folder = std::path::absolute(folder)?;
        let there = folder.ancestors().find(|folder| folder.exists());
        let there = there.unwrap_or(Path::new("/"));
        let about = statvfs(there)?;
        Ok(Disk {
            free_bytes: about.blocks_available() * about.fragment_size(),
            writable: !about.flags().contains(FsFlags::ST_RDONLY)
                && access(there, AccessFlags::W_OK).is_ok(),
        })
    }

    fn has_program(&mut self, name: &str) -> bool {
        std::env::split_paths(&self.path)
            .any(|folder| access(&folder.join(name), AccessFlags::X_OK).is_ok())
    }
}
