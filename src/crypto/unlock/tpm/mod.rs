//! A key that this machine's TPM has sealed: it opens on this machine alone, and if asked for only while the machine was started
//! as it was then.
//!
//! We speak TPM 2.0 ourselves, over the kernel's resource manager: the usual library would have to be there to build and to run
//! secretd, and a dozen commands are all that is needed. The key is a sealed data object under the storage key of the owner
//! hierarchy (which needs no password); it crosses the bus encrypted, with keys agreed upon with that storage key, and the storage
//! key must be the one that was there when the key was sealed.

mod bytes;
mod commands;
mod device;
mod session;

use crate::crypto::key::{Key, Unlock};
use commands::{Blob, Tpm};
use std::{fmt, io, str::FromStr};

/// The TPM of a machine that has one.
pub const DEVICE: &str = "/dev/tpmrm0";
/// Bytes of each part of a sealed object: a TPM makes less than a fifth of it.
pub const PART: usize = 1024;
/// Registers that a TPM of a PC has.
const REGISTERS: u8 = 24;

/// A set of platform configuration registers: measurements of how the machine was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pcrs(u32);

impl Pcrs {
    /// The set of these bits; nothing if there is no such register.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits >> REGISTERS == 0).then_some(Self(bits))
    }

    pub fn bits(self) -> u32 {
        self.0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn one(number: u8) -> Self {
        Self(1 << number)
    }

    fn numbers(self) -> impl Iterator<Item = u8> {
        (0..REGISTERS).filter(move |number| self.0 & 1 << number != 0)
    }
}

/// What was given is no list of registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a list of PCRs, as 7 or 7,11: numbers from 0 to 23")]
pub struct BadPcrs;

impl FromStr for Pcrs {
    type Err = BadPcrs;

    fn from_str(text: &str) -> Result<Self, BadPcrs> {
        text.split(',').try_fold(Self::default(), |set, number| {
            let number: u8 = number.trim().parse().map_err(|_| BadPcrs)?;
            if number < REGISTERS { Ok(Self(set.0 | Self::one(number).0)) } else { Err(BadPcrs) }
        })
    }
}

impl fmt::Display for Pcrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.numbers().map(|number| number.to_string()).collect();
        f.write_str(&numbers.join(","))
    }
}

/// A key in the keeping of a TPM; nothing here is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpm2 {
    /// A character device, or `unix:PATH` for a TPM behind a socket.
    pub device: String,
    /// What must measure as it did; none: the key opens however the machine was started.
    pub pcrs: Pcrs,
    /// Which TPM it is: SHA-256 of the public area of its storage key.
    pub parent: [u8; 32],
    /// The sealed object, as the TPM gave it away.
    pub public: Vec<u8>,
    pub private: Vec<u8>,
}

/// Why a TPM did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    #[error("cannot open the TPM {device}")]
    Open { device: String, source: io::Error },
    #[error("the TPM did not answer")]
    Talk(#[source] io::Error),
    #[error("the TPM gave an answer that cannot be understood")]
    Answer,
    #[error("the TPM's answer was changed on its way")]
    Forged,
    #[error("this is another TPM than the one that sealed the key, or it was cleared since")]
    Another,
    #[error("this machine was started otherwise than when the key was sealed (PCRs {0})")]
    Measured(Pcrs),
    #[error("the TPM keeps no PCR {0} in SHA-256")]
    NotMeasured(u8),
    #[error("the TPM's owner hierarchy has a password")]
    Owned,
    #[error("the TPM refused with code {0:#x}")]
    Refused(u32),
}

impl TpmError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open { .. } => {
                "see that the machine has a TPM 2.0, switched on in its firmware, and that secretd's user may use the device (group tss)"
            }
            Self::Talk(_) | Self::Answer | Self::Forged => {
                "see what the kernel's log says of the TPM"
            }
            Self::Another => {
                "open the keys with another unlocker, remove this one with `secretctl unlocker rm` and add it anew"
            }
            Self::Measured(_) => {
                "if firmware, boot loader or kernel were changed on purpose, open the keys with another unlocker, and remove and add this one; if not, find out who changed them"
            }
            Self::NotMeasured(_) => "switch the TPM's bank for SHA-256 on, or choose other PCRs",
            Self::Owned => "clear that password: `tpm2_changeauth -c owner -p …`",
            Self::Refused(_) => "`tpm2_rc_decode CODE` of tpm2-tools says what the code means",
        }
    }

    /// What a response code means to us; part 2 of the specification, 6.6.
    fn refused(of_owner: bool, code: u32) -> Self {
        const POLICY_FAIL: u32 = 0x9D;
        const PCR_CHANGED: u32 = 0x128;
        const AUTH_FAIL: u32 = 0x8E;
        const BAD_AUTH: u32 = 0xA2;
        const INTEGRITY: u32 = 0x9F;
        // Those of "format one" say besides which parameter or session they mean.
        let plain = if code & 0x80 != 0 { code & 0xBF } else { code };
        match plain {
            POLICY_FAIL | PCR_CHANGED => Self::Measured(Pcrs::default()),
            AUTH_FAIL | BAD_AUTH if of_owner => Self::Owned,
            INTEGRITY => Self::Another,
            _ => Self::Refused(code),
        }
    }
}

impl Tpm2 {
    /// Has the TPM seal `key`, and makes sure that it can get it back. Blocks for seconds.
    ///
    /// # Errors
    /// [`TpmError`]
    pub fn seal(device: &str, pcrs: Pcrs, key: &Key<Unlock>) -> Result<Self, TpmError> {
        let Blob { parent, public, private } = Tpm::open(device)?.seal(pcrs, key.bytes())?;
        if public.len() > PART || private.len() > PART {
            return Err(TpmError::Answer);
        }
        let made = Self { device: device.to_owned(), pcrs, parent, public, private };
        // What does not open is found out today and not at the next start.
        if made.key()?.bytes() != key.bytes() {
            return Err(TpmError::Answer);
        }
        Ok(made)
    }

    /// Has the TPM open the key. Blocks for seconds.
    ///
    /// # Errors
    /// [`TpmError`]
    pub fn key(&self) -> Result<Key<Unlock>, TpmError> {
        let Self { device, pcrs, parent, public, private } = self;
        let blob = Blob { parent: *parent, public: public.clone(), private: private.clone() };
        let opened = Tpm::open(device)?.unseal(*pcrs, &blob).map_err(|error| match error {
            TpmError::Measured(_) => TpmError::Measured(*pcrs),
            other => other,
        })?;
        let bytes: &[u8; 32] = opened.as_slice().try_into().map_err(|_| TpmError::Answer)?;
        let mut key = Key::blank();
        key.bytes_mut().copy_from_slice(bytes);
        Ok(key)
    }
}
