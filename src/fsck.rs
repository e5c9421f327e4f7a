//! `marquee fsck`: runs the checks of `actors::fsck` and prints each with its evidence.

use bus::config::Environment;

/// Prints every check; an error, and so exit code 1, when one found something.
pub async fn run(mut environment: Environment) -> anyhow::Result<()> {
    let url = crate::config::database_url(&mut environment);
    environment.check()?;
    let checked = actors::fsck::check(&url).await?;
    for check in &checked {
        let verdict = if check.found == 0 { "ok  " } else { "FAIL" };
        println!("{verdict} {:<18} {}", check.name, check.promise);
        println!("     {:<18} {}", "", check.evidence);
        for finding in &check.findings {
            println!("     {:<18} ! {finding}", "");
        }
        let unshown = check.found - check.findings.len() as i64;
        if unshown > 0 {
            println!("     {:<18} ! and {unshown} more", "");
        }
    }
    let broken: Vec<&str> = checked.iter().filter(|check| check.found > 0).map(|check| check.name).collect();
    anyhow::ensure!(broken.is_empty(), "not as promised: {}", broken.join(", "));
    println!("everything is as promised ({} checks)", checked.len());
    Ok(())
}
