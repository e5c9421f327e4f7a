//! The demo: its accounts, movies and showtimes, and what a second seed adds.

use super::*;
use actors::movie::Added;
use actors::seed::{Passwords, accounts, seed};
use bus::contract::Currency;

#[tokio::test]
async fn the_demo_has_showtimes_for_two_weeks_and_a_second_seed_adds_only_what_is_missing() {
    let catalogue = Catalogue::open().await;
    let config = &catalogue.system.config;
    let seed = || seed(config, catalogue.system.bus.clone(), Currency::EUR, Passwords::Demo);
    let seeds = join_all((0..2).map(|_| seed())).await;
    let added: Vec<Added> = seeds.into_iter().map(|seeded| seeded.unwrap().added).collect();
    let (first, second) = if added[0].movies > 0 { (added[0], added[1]) } else { (added[1], added[0]) };
    assert_eq!(second, Added::default());
    assert!(first.movies >= 6 && first.genres > 0 && first.auditoriums == 3, "{first:?}");
    assert!(first.showtimes >= 14 * 3 * 3, "{first:?}");
    assert_eq!((first.ticket_types, first.price_cards), (6, 3));
    for account in accounts(Passwords::Demo) {
        let session = catalogue.system.log_in(account.email, &account.password).await.unwrap();
        assert_eq!((session.user.role, session.user.name.as_str()), (account.role, account.name));
    }

    let mut days: BTreeMap<String, u64> = BTreeMap::new();
    let mut halls: HashMap<String, Vec<Showtime>> = HashMap::new();
    let today = OffsetDateTime::now_utc();
    for ahead in 1..=13 {
        let date = (today + Duration::from_secs(ahead * 86_400)).date().to_string();
        let paging = Paging { page: 1, page_size: 100 };
        let page = catalogue
            .ask(&ListShowtimes { date: Some(date.clone()), paging, ..any_showtime() })
            .await
            .unwrap();
        days.insert(date, page.total);
        for showtime in page.items {
            halls.entry(showtime.auditorium_name.clone()).or_default().push(showtime);
        }
    }
    assert!(days.values().all(|shows| *shows >= 9), "{days:?}");
    assert_eq!(halls.len(), 3);
    for shows in halls.values() {
        let hours: HashSet<u8> = shows.iter().map(|show| show.starts_at.date_time().hour()).collect();
        assert!(hours.iter().all(|hour| (8..23).contains(hour)), "{hours:?} UTC");
    }

    // Without the showtimes of the last two days, as two days later.
    let gone = "delete from movie.showtimes where starts_at > now() + interval '12 days'";
    let gone = sqlx::query(gone).execute(&catalogue.system.database).await.unwrap().rows_affected();
    let again = seed().await.unwrap();
    assert_eq!(again.added, Added { showtimes: gone as usize, ..Added::default() });
    // The last show is a draft each time, and has no event.
    let published = first.showtimes + gone as usize - 2;
    let scheduled = catalogue.system.events::<ShowtimeScheduled>(published).await;
    let drafts = "select count(*) from movie.showtimes where draft";
    let drafts: i64 = sqlx::query_scalar(drafts).fetch_one(&catalogue.system.database).await.unwrap();
    assert_eq!(drafts, 1);
    let ids: HashSet<Uuid> = scheduled.iter().map(|event| event.showtime_id).collect();
    assert_eq!(ids.len(), scheduled.len());
    catalogue.system.finish().await;
}
