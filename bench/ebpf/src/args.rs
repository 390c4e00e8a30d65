//! `--name value` pairs.

use crate::Result;
use std::collections::HashMap;

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

    pub fn number(&self, name: &str, default: u64) -> Result<u64> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name} {text}: not a number").into()),
        }
    }
}
