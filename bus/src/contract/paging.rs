//! Pages of listings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fields;

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    pub items: Vec<T>,
    pub page: u32,
    pub page_size: u32,
    pub total: u64,
}

/// Which page: counted from 1, at most 100 items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paging {
    pub page: u32,
    pub page_size: u32,
}

impl Paging {
    pub fn validate(&self, fields: &mut Fields) {
        // The upper bound keeps the offset within what Postgres can skip in reasonable time.
        fields.range(self.page, 1..=100_000, "page");
        fields.range(self.page_size, 1..=100, "pageSize");
    }
    pub fn offset(&self) -> i64 {
        i64::from(self.page.saturating_sub(1)) * i64::from(self.page_size)
    }
    pub fn limit(&self) -> i64 {
        i64::from(self.page_size)
    }
    /// This page of a whole list.
    pub fn page_of<T>(&self, all: Vec<T>) -> Page<T> {
        let total = all.len() as u64;
        let (skipped, size) = (self.offset().max(0) as usize, self.page_size as usize);
        self.of(all.into_iter().skip(skipped).take(size).collect(), total)
    }
    pub fn of<T>(&self, items: Vec<T>, total: u64) -> Page<T> {
        Page { items, page: self.page, page_size: self.page_size, total }
    }
}

impl Default for Paging {
    fn default() -> Self {
        Self { page: 1, page_size: 20 }
    }
}
