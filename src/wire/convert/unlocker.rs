//! Unlockers, as the store and a node's key header keep them.

use super::{
    Malformed,
    parts::{digest, need, parse},
};
use crate::{
    crypto::unlock::{
        Method, Unlocker,
        command::Helper,
        passphrase::Cost,
        recipient::Recipient,
        tpm::{self, Pcrs, Tpm2},
    },
    wire::v1::{self, unlocker::Method as Wire},
};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

impl From<&Unlocker> for v1::Unlocker {
    fn from(value: &Unlocker) -> Self {
        let Unlocker { id, method, recipient, wrapped_root } = value;
        let method = match method {
            Method::File => Wire::File(v1::UnlockerFile {}),
            Method::Autolock => Wire::Autolock(v1::UnlockerAutolock {}),
            Method::Recovery => Wire::Recovery(v1::UnlockerRecovery {}),
            Method::Passphrase(Cost { salt, memory_kib, passes, lanes }) => {
                Wire::Passphrase(v1::UnlockerPassphrase {
                    salt: salt.to_vec(),
                    memory_kib: *memory_kib,
                    passes: *passes,
                    lanes: *lanes,
                })
            }
            Method::Shamir { shares, threshold } => Wire::Shamir(v1::UnlockerShamir {
                shares: u32::from(*shares),
                threshold: u32::from(*threshold),
            }),
            Method::Command(Helper { program, wrapped_key }) => {
                Wire::Command(v1::UnlockerCommand {
                    program: program.as_os_str().as_bytes().to_vec(),
                    wrapped_key: wrapped_key.clone(),
                })
            }
            Method::Tpm2(Tpm2 { device, pcrs, parent, public, private }) => {
                Wire::Tpm2(v1::UnlockerTpm2 {
                    device: device.clone(),
                    pcrs: pcrs.bits(),
                    parent: parent.to_vec(),
                    public: public.clone(),
                    private: private.clone(),
                })
            }
        };
        Self {
            id: id.to_string(),
            wrapped_root: wrapped_root.clone(),
            method: Some(method),
            recipient: recipient.0.to_vec(),
        }
    }
}

impl TryFrom<v1::Unlocker> for Unlocker {
    type Error = Malformed;
    fn try_from(wire: v1::Unlocker) -> Result<Self, Malformed> {
        let v1::Unlocker { id, wrapped_root, method, recipient } = wire;
        // A kind that a later secretd made is a field that this one does not know.
        let method = match need(method, "method")? {
            Wire::File(v1::UnlockerFile {}) => Method::File,
            Wire::Autolock(v1::UnlockerAutolock {}) => Method::Autolock,
            Wire::Recovery(v1::UnlockerRecovery {}) => Method::Recovery,
            Wire::Passphrase(v1::UnlockerPassphrase { salt, memory_kib, passes, lanes }) => {
                let salt = salt
                    .as_slice()
                    .try_into()
                    .map_err(|_| Malformed::new("must have 16 bytes").within("salt"))?;
                Method::Passphrase(Cost { salt, memory_kib, passes, lanes })
            }
            Wire::Shamir(v1::UnlockerShamir { shares, threshold }) => Method::Shamir {
                shares: byte(shares, "shares")?,
                threshold: byte(threshold, "threshold")?,
            },
            Wire::Command(v1::UnlockerCommand { program, wrapped_key }) => {
                Method::Command(Helper { program: OsStr::from_bytes(&program).into(), wrapped_key })
            }
            Wire::Tpm2(v1::UnlockerTpm2 { device, pcrs, parent, public, private }) => {
                let pcrs = Pcrs::from_bits(pcrs)
                    .ok_or_else(|| Malformed::new("names more than 24").within("pcrs"))?;
                let parent = parent
                    .as_slice()
                    .try_into()
                    .map_err(|_| Malformed::new("must have 32 bytes").within("parent"))?;
                for (part, field) in [(&public, "public"), (&private, "private")] {
                    if part.len() > tpm::PART {
                        return Err(Malformed::new("is too long").within(field));
                    }
                }
                Method::Tpm2(Tpm2 { device, pcrs, parent, public, private })
            }
        };
        let recipient = Recipient(digest(&recipient, "recipient")?);
        Ok(Self { id: parse(&id, "id")?, method, recipient, wrapped_root })
    }
}

fn byte(value: u32, field: &str) -> Result<u8, Malformed> {
    u8::try_from(value).map_err(|_| Malformed::new("must be below 256").within(field))
}
