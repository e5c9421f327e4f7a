//! The commands of the README, run as they are: they must end with a confirmed ticket.

use crate::cinema::{Plan, TestCinema};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_readme_sell_a_seat() {
    let cinema = TestCinema::open_with(Plan { seed: true, ..Plan::default() }).await;
    let readme = include_str!("../../README.md");
    let commands = readme.split("```sh\n").find(|block| block.starts_with("URL=")).unwrap();
    let commands = commands.split("```").next().unwrap();
    assert!(commands.contains("URL=http://127.0.0.1:8080\n"), "the commands use the default address");
    let commands = commands.replace("URL=http://127.0.0.1:8080\n", &format!("URL={}\n", cinema.url()));
    let ran = tokio::process::Command::new("bash")
        .arg("-euo")
        .arg("pipefail")
        .arg("-c")
        .arg(commands)
        .output()
        .await
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    assert_eq!(out.trim_end().lines().last(), Some("CONFIRMED"), "{out}\n{err}");
    cinema.close().await;
}
