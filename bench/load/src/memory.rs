//! What the process that is measured has in memory.

use crate::args::Result;

/// Resident size now, in bytes.
pub fn resident_bytes(pid: u64) -> Result<i64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = field.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<i64>().ok());
    Ok(kibibytes.ok_or("the measured process is gone")? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_size_grows_with_what_is_touched() {
        let pid = std::process::id() as u64;
        let before = resident_bytes(pid).unwrap();
        let touched = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(resident_bytes(pid).unwrap() - before > 32 << 20);
        drop(touched);
    }
}
