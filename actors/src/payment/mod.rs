//! Placeholder.
pub async fn spawn(_: crate::host::Parts, _: crate::config::PaymentSettings) -> anyhow::Result<crate::host::Host> {
    anyhow::bail!("not there yet")
}
