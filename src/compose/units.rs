//! Numbers as Compose files write them: sizes, shares of a processor, permission bits, truths.

/// Reads `64m`, `1.5GB`, `1024`; units are powers of 1024. Nothing for what is no size.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    scaled(number, 1 << power)
}

/// Reads `0.5` processors as 500 000 000 billionths.
pub(crate) fn nano_cpus(text: &str) -> Option<u64> {
    scaled(text, 1_000_000_000)
}

/// `number × scale`, the fraction cut off, without the rounding of floats.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = u128::from(whole) * u128::from(scale);
    // Twelve digits are finer than any unit's last bit that matters.
    let fraction = &fraction[..fraction.len().min(12)];
    if !fraction.is_empty() {
        let tens = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        value += fraction.parse::<u128>().ok()? * u128::from(scale) / tens;
    }
    u64::try_from(value).ok()
}

/// Reads permission bits: `0400` and `0o400` are octal, `256` is decimal, as YAML has it.
pub(crate) fn mode(text: &str) -> Option<u32> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(octal) = text.strip_prefix("0o").or_else(|| text.strip_prefix("0O")) {
        return digits(octal).then(|| u32::from_str_radix(octal, 8).ok()).flatten();
    }
    if !digits(text) {
        return None;
    }
    u32::from_str_radix(text, if text.starts_with('0') { 8 } else { 10 }).ok()
}

/// Whether a mode was likely meant to be octal although it reads as decimal: `440`, `644`.
pub(crate) fn looks_octal(text: &str) -> bool {
    matches!(
        text,
        "400"
            | "440"
            | "444"
            | "600"
            | "640"
            | "644"
            | "660"
            | "664"
            | "666"
            | "700"
            | "744"
            | "750"
            | "755"
            | "770"
            | "775"
            | "777"
    )
}

/// Reads a truth as YAML 1.1 writes it, which is what Compose accepts.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// Reads a whole number, decimal, `0x…` or `0o…`.
pub(crate) fn whole(text: &str) -> Option<u64> {
    let plain = |text: &str| text.starts_with(|c: char| c.is_ascii_hexdigit());
    let (radix, digits) = match text.get(..2) {
        Some("0x") => (16, &text[2..]),
        Some("0o") => (8, &text[2..]),
        _ => (10, text),
    };
    if plain(digits) { u64::from_str_radix(digits, radix).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, expected) in [
            ("0", Some(0)),
            ("64", Some(64)),
            ("50M", Some(50 << 20)),
            ("1.5g", Some(3 << 29)),
            ("1 GiB", Some(1 << 30)),
            ("20kb", Some(20 << 10)),
            ("", None),
            ("m", None),
            ("-1m", None),
            ("1x", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
            ("9999999p", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn processors_are_exact() {
        assert_eq!(nano_cpus("0.1"), Some(100_000_000));
        assert_eq!(nano_cpus("2"), Some(2_000_000_000));
        assert_eq!(nano_cpus(".25"), Some(250_000_000));
        assert_eq!(nano_cpus("."), None);
        assert_eq!(nano_cpus("1e3"), None);
    }

    #[test]
    fn a_mode_is_octal_when_yaml_says_so() {
        for text in ["0400", "0o400", "256", "00400"] {
            assert_eq!(mode(text), Some(0o400), "{text}");
        }
        for text in ["", "r--", "0o", "0x10", "-1", "0888", "0o+7"] {
            assert_eq!(mode(text), None, "{text}");
        }
        assert!(looks_octal("440") && !looks_octal("256"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,20}") {
            let numbers = [bytes(&text), nano_cpus(&text), mode(&text).map(u64::from), whole(&text)];
            prop_assert!(truth(&text).is_none() || numbers.iter().all(Option::is_none));
        }
    }
}
