//! Why two ends did not come to trust each other, in words for operators: those of the TLS library name its own parts.

use super::peer::BadCertificate;
use rustls::{AlertDescription, CertificateError, Error};
use std::{error, io};

/// Why a connection did not come about, or was ended, on account of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsRefusal {
    #[error("its certificate has expired")]
    Expired,
    #[error("its certificate is not valid yet")]
    NotYet,
    #[error("its certificate is not signed by a CA that this node trusts")]
    Foreign,
    #[error("it is another node than the one that was called")]
    AnotherNode,
    #[error("its CA is not the one that the join token names")]
    AnotherCa,
    /// No certificate of a node, or not of the right one.
    #[error(transparent)]
    Certificate(BadCertificate),
    #[error("its certificate was refused: {0}")]
    Other(String),
    /// The rest is what the other end says of us.
    /// TLS has one word for both.
    #[error("it says that this node's certificate has expired, or is not valid yet")]
    OursExpired,
    #[error("it does not trust the CA that signed this node's certificate")]
    OursForeign,
    #[error("it does not accept this node's certificate")]
    OursRefused,
    #[error("it does not speak TLS 1.3 as secretd does")]
    NoTls,
}

impl TlsRefusal {
    /// Finds the refusal among the causes of an error.
    pub fn find<'a>(error: &'a (dyn error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            // An I/O error names the cause of what it carries, and not what it carries.
            let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(found) = carried.and_then(|carried| carried.downcast_ref::<Self>()) {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// Finds what the other end says of us in a text: the HTTP/2 library passes on the words of an error, and nothing else.
    pub fn said(text: &str) -> Option<Self> {
        let all = [Self::OursExpired, Self::OursForeign, Self::OursRefused];
        all.into_iter().find(|refusal| text.contains(&refusal.to_string()))
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Expired => {
                "do the clocks agree (`date -u` on both)? A certificate that expired while its node was off is renewed by itself a moment after it is back"
            }
            Self::NotYet => {
                "the clock here is behind, or the one there was ahead when the certificate was made: compare `date -u` on both. Once they agree the certificate is replaced by itself"
            }
            Self::AnotherCa => {
                "is this the right cluster? If its CA was replaced since the token was made, make another with `secretctl join-token`"
            }
            Self::Foreign | Self::OursForeign => {
                "a node that was away while the cluster's CA was replaced, or that was brought back from an old copy, must leave with `secretctl leave --force` and join again"
            }
            Self::AnotherNode => "has the address been given to another node?",
            Self::Certificate(_) => "is the address that of a manager of this cluster?",
            Self::OursExpired => {
                "do the clocks agree (`date -u` on both)? It is renewed by itself when a manager can be reached"
            }
            Self::Other(_) | Self::OursRefused => "see the log of secretd at the other end",
            Self::NoTls => "is secretd listening at this address?",
        }
    }

    /// What a TLS error says about certificates; nothing if it is about something else.
    pub(super) fn of(error: &Error) -> Option<Self> {
        let refusal = match error {
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateExpired => Self::OursExpired,
                AlertDescription::UnknownCA => Self::OursForeign,
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::AccessDenied
                | AlertDescription::CertificateRequired
                | AlertDescription::DecryptError => Self::OursRefused,
                AlertDescription::ProtocolVersion
                | AlertDescription::HandshakeFailure
                | AlertDescription::NoApplicationProtocol => Self::NoTls,
                _ => return None,
            },
            Error::InvalidMessage(_)
            | Error::PeerIncompatible(_)
            | Error::NoApplicationProtocol => Self::NoTls,
            _ => return None,
        };
        Some(refusal)
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYet
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Foreign,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::AnotherNode
            }
            CertificateError::Other(other) => {
                if let Some(ours) = other.0.downcast_ref::<Self>() {
                    ours.clone()
                } else if let Some(bad) = other.0.downcast_ref::<BadCertificate>() {
                    Self::Certificate(bad.clone())
                } else {
                    Self::Other(other.0.to_string())
                }
            }
            other => Self::Other(other.to_string()),
        }
    }
}

/// Puts an I/O error of the TLS library in our words, where it is about certificates.
pub(super) fn in_our_words(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls.and_then(TlsRefusal::of) {
        Some(refusal) => io::Error::new(error.kind(), refusal),
        // The library recommends its manual here.
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "the other end cut the connection")
        }
        None => error,
    }
}
