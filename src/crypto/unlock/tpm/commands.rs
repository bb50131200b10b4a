//! The few commands we have for a TPM (TPM 2.0 Library, part 3), and what they are put together to.

use super::{
    Pcrs, TpmError,
    bytes::{In, Out},
    device::Device,
    session::{self, CONTINUE, DECRYPT, ENCRYPT, Point, SIZE, Session, agree},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const CREATE_PRIMARY: u32 = 0x131;
const CREATE: u32 = 0x153;
const LOAD: u32 = 0x157;
const UNSEAL: u32 = 0x15E;
const FLUSH_CONTEXT: u32 = 0x165;
const START_AUTH_SESSION: u32 = 0x176;
const PCR_READ: u32 = 0x17E;
const POLICY_PCR: u32 = 0x17F;
const POLICY_GET_DIGEST: u32 = 0x189;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;
const PASSWORD: u32 = 0x4000_0009;

const AES: u16 = 0x06;
const KEYED_HASH: u16 = 0x08;
const SHA256: u16 = 0x0B;
const NONE: u16 = 0x10;
const ECC: u16 = 0x23;
const CFB: u16 = 0x43;
const P256: u16 = 0x03;

const FIXED_TPM: u32 = 0x2;
const FIXED_PARENT: u32 = 0x10;
const SENSITIVE_DATA_ORIGIN: u32 = 0x20;
const USER_WITH_AUTH: u32 = 0x40;
/// No wrong guess counts against it: there is nothing to guess.
const NO_DA: u32 = 0x400;
const RESTRICTED: u32 = 0x1_0000;
const DECRYPTS: u32 = 0x2_0000;

/// What a TPM made of a secret: of use to that TPM alone, and to it only while its measurements are what they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    /// SHA-256 of the public area of the key above it: which TPM it was.
    pub(super) parent: [u8; SIZE],
    pub(super) public: Vec<u8>,
    pub(super) private: Vec<u8>,
}

/// A TPM with what we have loaded into it, which is unloaded when this is dropped: it has room for three objects.
pub(super) struct Tpm {
    device: Device,
    loaded: Vec<u32>,
}

/// How a command is authorised.
enum Auth<'a> {
    Nobody,
    /// With an empty password.
    Empty,
    /// By a session, for what has these names.
    By(&'a mut Session, &'a [&'a [u8]], u8),
}

/// The storage key that all else lies under.
struct Primary {
    handle: u32,
    /// The digest of its public area, which is its name too.
    digest: [u8; SIZE],
    point: Point,
}

impl Primary {
    fn name(&self) -> Vec<u8> {
        name(&self.digest)
    }
}

fn name(digest: &[u8; SIZE]) -> Vec<u8> {
    [&SHA256.to_be_bytes()[..], digest].concat()
}

impl Tpm {
    pub(super) fn open(device: &str) -> Result<Self, TpmError> {
        Ok(Self { device: Device::open(device)?, loaded: Vec::new() })
    }

    /// Has a secret sealed, to the present values of these registers if there are any.
    pub(super) fn seal(&mut self, pcrs: Pcrs, secret: &[u8]) -> Result<Blob, TpmError> {
        let policy = if pcrs.is_empty() { Vec::new() } else { self.policy(pcrs)? };
        let primary = self.primary()?;
        let mut session = self.session(0, &primary)?;
        // Without a policy, whoever has this TPM may ask for it; with one, nobody but who fulfils it.
        let anyone = if policy.is_empty() { USER_WITH_AUTH } else { 0 };
        let public = Out::new()
            .u16(KEYED_HASH)
            .u16(SHA256)
            .u32(FIXED_TPM | FIXED_PARENT | NO_DA | anyone)
            .sized(&policy)
            .u16(NONE)
            .sized(&[]);
        let sensitive = Out::new().sized(&[]).sized(secret);
        let parameters =
            Out::new().sized(sensitive.bytes()).sized(public.bytes()).sized(&[]).u32(0);
        let names: &[&[u8]] = &[&primary.name()];
        let by = Auth::By(&mut session, names, CONTINUE | DECRYPT);
        let answer = self.run(CREATE, &[primary.handle], by, parameters, false)?.1;
        let mut answer = In::new(&answer);
        let (private, public) = (answer.sized()?.to_vec(), answer.sized()?.to_vec());
        Ok(Blob { parent: primary.digest, public, private })
    }

    /// Has a blob opened.
    pub(super) fn unseal(
        &mut self,
        pcrs: Pcrs,
        blob: &Blob,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let Blob { parent, public, private } = blob;
        let primary = self.primary()?;
        if primary.digest != *parent {
            return Err(TpmError::Another);
        }
        let parameters = Out::new().sized(private).sized(public);
        let (object, _) = self.run(LOAD, &[primary.handle], Auth::Empty, parameters, true)?;
        let mut session = self.session(u8::from(!pcrs.is_empty()), &primary)?;
        if !pcrs.is_empty() {
            self.policy_pcr(session.handle, pcrs)?;
        }
        let names: &[&[u8]] = &[&name(&Sha256::digest(public).into())];
        let by = Auth::By(&mut session, names, CONTINUE | ENCRYPT);
        let answer = self.run(UNSEAL, &[object], by, Out::new(), false)?.1;
        let mut answer = In::new(&answer);
        let secret = Zeroizing::new(answer.sized()?.to_vec());
        answer.end()?;
        Ok(secret)
    }

    /// The TPM's storage key after the template that everybody uses (TCG, TPM v2.0 Provisioning Guidance): the same each time.
    fn primary(&mut self) -> Result<Primary, TpmError> {
        let template = Out::new()
            .u16(ECC)
            .u16(SHA256)
            .u32(
                FIXED_TPM
                    | FIXED_PARENT
                    | SENSITIVE_DATA_ORIGIN
                    | USER_WITH_AUTH
                    | NO_DA
                    | RESTRICTED
                    | DECRYPTS,
            )
            .sized(&[])
            .u16(AES)
            .u16(128)
            .u16(CFB)
            .u16(NONE)
            .u16(P256)
            .u16(NONE)
            .sized(&[])
            .sized(&[]);
        let sensitive = Out::new().sized(&[]).sized(&[]);
        let parameters =
            Out::new().sized(sensitive.bytes()).sized(template.bytes()).sized(&[]).u32(0);
        let (handle, answer) = self.run(CREATE_PRIMARY, &[OWNER], Auth::Empty, parameters, true)?;
        let public = In::new(&answer).sized()?;
        // All of it is as we asked, and the point is last.
        let fixed = template.bytes().len() - 4;
        if public.get(..fixed) != template.bytes().get(..fixed) {
            return Err(TpmError::Answer);
        }
        let mut rest = In::new(&public[fixed..]);
        let point = Point { x: coordinate(rest.sized()?)?, y: coordinate(rest.sized()?)? };
        rest.end()?;
        Ok(Primary { handle, digest: Sha256::digest(public).into(), point })
    }

    /// Starts a session whose keys come from a secret that only the TPM with `primary` can know; of kind 0 to authorise, of
    /// kind 1 to fulfil a policy.
    fn session(&mut self, kind: u8, primary: &Primary) -> Result<Session, TpmError> {
        let (secret, ephemeral) = agree(&primary.point)?;
        let point = Out::new().sized(&ephemeral.x).sized(&ephemeral.y);
        let ours = session::nonce();
        let parameters = Out::new()
            .sized(&ours)
            .sized(point.bytes())
            .u8(kind)
            .u16(AES)
            .u16(128)
            .u16(CFB)
            .u16(SHA256);
        let handles = [primary.handle, NULL];
        let (handle, answer) =
            self.run(START_AUTH_SESSION, &handles, Auth::Nobody, parameters, true)?;
        let theirs = In::new(&answer).sized()?;
        Ok(Session::begin(handle, &*secret, ours, theirs))
    }

    /// The policy "these registers are as they are now".
    fn policy(&mut self, pcrs: Pcrs) -> Result<Vec<u8>, TpmError> {
        for pcr in pcrs.numbers() {
            self.must_measure(pcr)?;
        }
        const TRIAL: u8 = 3;
        let parameters =
            Out::new().sized(&session::nonce()).sized(&[]).u8(TRIAL).u16(NONE).u16(SHA256);
        let handles = [NULL, NULL];
        let (trial, _) = self.run(START_AUTH_SESSION, &handles, Auth::Nobody, parameters, true)?;
        self.policy_pcr(trial, pcrs)?;
        let (_, answer) = self.run(POLICY_GET_DIGEST, &[trial], Auth::Nobody, Out::new(), false)?;
        let digest = In::new(&answer).sized()?.to_vec();
        self.flush(trial)?;
        if digest.len() == SIZE { Ok(digest) } else { Err(TpmError::Answer) }
    }

    /// Refuses a register that the TPM does not keep in SHA-256: it would silently count for nothing.
    fn must_measure(&mut self, pcr: u8) -> Result<(), TpmError> {
        let parameters = Out::new().raw(&selection(Pcrs::one(pcr)));
        let (_, answer) = self.run(PCR_READ, &[], Auth::Nobody, parameters, false)?;
        let mut answer = In::new(&answer);
        let (_changes, banks) = (answer.u32()?, answer.u32()?);
        for _ in 0..banks {
            let (_bank, length) = (answer.u16()?, answer.u8()?);
            answer.raw(usize::from(length))?;
        }
        if answer.u32()? == 1 { Ok(()) } else { Err(TpmError::NotMeasured(pcr)) }
    }

    fn policy_pcr(&mut self, session: u32, pcrs: Pcrs) -> Result<(), TpmError> {
        let parameters = Out::new().sized(&[]).raw(&selection(pcrs));
        self.run(POLICY_PCR, &[session], Auth::Nobody, parameters, false)?;
        Ok(())
    }

    fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        self.loaded.retain(|one| *one != handle);
        self.run(FLUSH_CONTEXT, &[handle], Auth::Nobody, Out::new(), false).map(drop)
    }

    /// Runs a command; gives the handle it answers with (or 0), and the parameters of the answer.
    fn run(
        &mut self,
        code: u32,
        handles: &[u32],
        auth: Auth<'_>,
        mut parameters: Out,
        gives_handle: bool,
    ) -> Result<(u32, Zeroizing<Vec<u8>>), TpmError> {
        let mut by = None;
        let area = match auth {
            Auth::Nobody => None,
            Auth::Empty => Some(Out::new().u32(PASSWORD).sized(&[]).u8(CONTINUE).sized(&[])),
            Auth::By(session, names, attributes) => {
                let area = session.authorise(code, names, parameters.bytes_mut(), attributes)?;
                by = Some(session);
                Some(area)
            }
        };
        let mut body = handles.iter().fold(Out::new(), |body, handle| body.u32(*handle));
        if let Some(area) = &area {
            body = body.u32(length(area.bytes())?).raw(area.bytes());
        }
        let body = body.raw(parameters.bytes());
        let tag = if area.is_some() { SESSIONS } else { NO_SESSIONS };
        let whole = length(body.bytes())? + 10;
        let command = Out::new().u16(tag).u32(whole).u32(code).raw(body.bytes());
        let answer = self.device.ask(command.bytes())?;
        let mut answer = In::new(&answer);
        let (tag, _length, result) = (answer.u16()?, answer.u32()?, answer.u32()?);
        if result != 0 {
            return Err(TpmError::refused(code == CREATE_PRIMARY, result));
        }
        let handle = if gives_handle { answer.u32()? } else { 0 };
        if gives_handle {
            self.loaded.push(handle);
        }
        if tag != SESSIONS {
            return Ok((handle, Zeroizing::new(answer.rest().to_vec())));
        }
        let size = answer.u32()? as usize;
        let mut parameters = Zeroizing::new(answer.raw(size)?.to_vec());
        let said = (answer.sized()?, answer.u8()?, answer.sized()?);
        answer.end()?;
        if let Some(session) = by {
            session.accept(code, &mut parameters, said)?;
        }
        Ok((handle, parameters))
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        while let Some(handle) = self.loaded.pop() {
            // The resource manager does it too, when the device is closed.
            self.flush(handle).ok();
        }
    }
}

fn length(bytes: &[u8]) -> Result<u32, TpmError> {
    u32::try_from(bytes.len()).map_err(|_| TpmError::Answer)
}

/// A coordinate without the zeros in front that a TPM may leave out.
fn coordinate(bytes: &[u8]) -> Result<[u8; SIZE], TpmError> {
    let mut whole = [0; SIZE];
    let at = SIZE.checked_sub(bytes.len()).ok_or(TpmError::Answer)?;
    whole[at..].copy_from_slice(bytes);
    Ok(whole)
}

/// These registers, of the bank of SHA-256.
fn selection(pcrs: Pcrs) -> Vec<u8> {
    let [low, middle, high, _] = pcrs.bits().to_le_bytes();
    [&1_u32.to_be_bytes()[..], &SHA256.to_be_bytes(), &[3, low, middle, high]].concat()
}
