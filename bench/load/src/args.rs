//! `--name value` pairs.

use std::collections::HashMap;
use std::time::Duration;

/// What a scenario may fail with; `main` prints it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub struct Args(HashMap<String, String>);

impl Args {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Args> {
        let mut values = HashMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or(format!("{word}: not an option"))?;
            let value = words.next().ok_or(format!("{word}: no value"))?;
            values.insert(name.to_string(), value);
        }
        Ok(Args(values))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn text(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or(format!("--{name} is missing").into())
    }

    pub fn number(&self, name: &str, default: u64) -> Result<u64> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name} {text}: not a number").into()),
        }
    }

    /// A time in seconds, which may have a fraction.
    pub fn seconds(&self, name: &str, default: f64) -> Result<Duration> {
        let seconds = match self.get(name) {
            None => default,
            Some(text) => text.parse().map_err(|_| format!("--{name} {text}: not a number"))?,
        };
        Duration::try_from_secs_f64(seconds).map_err(|error| format!("--{name} {seconds}: {error}").into())
    }
}
