//! The catalogue: who may change it, what is published of it, and how it is read.

use super::*;

#[tokio::test]
async fn only_staff_may_write_the_catalogue_and_everybody_may_read_it() {
    let catalogue = Catalogue::open().await;
    let ada = catalogue.system.register("ada@example.org").await.access_token;
    let genre = CreateGenre { name: "Drama".into() };
    assert_eq!(refusal(catalogue.system.ask(&genre, None).await).0, 401);
    assert_eq!(refusal(catalogue.system.ask(&genre, Some(&ada)).await).0, 403);
    assert_eq!(refusal(catalogue.system.ask(&movie("M", &[]), Some(&ada)).await).0, 403);
    assert_eq!(refusal(catalogue.system.ask(&auditorium("A", "UTC"), Some(&ada)).await).0, 403);
    let show = showtime(Uuid::nil(), Uuid::nil(), ahead(2));
    assert_eq!(refusal(catalogue.system.ask(&show, Some(&ada)).await).0, 403);
    sqlx::query("update auth.users set role = 'ADMIN' where email_key = 'ada@example.org'")
        .execute(&catalogue.system.database)
        .await
        .unwrap();
    let ada =
        catalogue.system.log_in("ada@example.org", crate::harness::PASSWORD).await.unwrap().access_token;
    catalogue.system.ask(&genre, Some(&ada)).await.unwrap();
    let listed = catalogue.system.ask(&ListGenres { paging: Paging::default() }, None).await.unwrap();
    assert_eq!(listed.total, 1);
    catalogue.system.finish().await;
}

#[tokio::test]
async fn a_new_movie_is_published_and_found_with_its_genres_in_order() {
    let catalogue = Catalogue::open().await;
    let (drama, comedy) = (catalogue.genre("Drama").await, catalogue.genre("Comedy").await);
    let taken = catalogue.ask(&CreateGenre { name: "dRAMA".into() }).await;
    assert_eq!(refusal(taken).1, "genre-taken");
    let made = catalogue.movie("Paper Comets", &[&drama, &comedy]).await;
    assert_eq!(made.genres, [drama.clone(), comedy.clone()]);
    assert_eq!(catalogue.ask(&GetMovie { id: made.id }).await.unwrap(), made);
    let event = catalogue.system.events::<MovieCreated>(1).await.remove(0);
    assert_eq!((event.movie_id, event.genres), (made.id, vec!["Drama".to_owned(), "Comedy".to_owned()]));
    let creator = sqlx::query_scalar::<_, Uuid>("select id from auth.users where role = 'SUPER_ADMIN'");
    assert_eq!(event.created_by, creator.fetch_one(&catalogue.system.database).await.unwrap());

    let mut unknown = movie("Nothing", &[&drama]);
    unknown.genre_ids.push(Uuid::now_v7());
    let (status, _, field) = refusal(catalogue.ask(&unknown).await);
    assert_eq!((status, field.as_str()), (422, "genreIds names a genre that does not exist"));
    assert_eq!(refusal(catalogue.ask(&GetMovie { id: Uuid::now_v7() }).await).0, 404);
    let mut wrong = movie("", &[]);
    wrong.release_date = "2026-02-30".into();
    assert_eq!(catalogue.ask(&wrong).await.unwrap_err().errors.len(), 2);
    assert_eq!(
        catalogue.titles(any_movie()).await,
        ["Paper Comets"],
        "a refused movie leaves nothing behind"
    );
    catalogue.system.finish().await;
}

#[tokio::test]
async fn a_repeated_create_gets_the_first_answer_byte_for_byte() {
    let catalogue = Catalogue::open().await;
    let ask = Ask {
        token: Some(catalogue.token.clone()),
        idempotency_key: Some("once".into()),
        ..Ask::new(Context::new())
    };
    let wanted = movie("Paper Comets", &[]);
    let answers = join_all((0..8).map(|_| catalogue.system.bus.ask_raw(&wanted, &ask))).await;
    let answers: HashSet<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.len(), 1);
    let other = catalogue.system.bus.ask(&movie("Other", &[]), &ask).await;
    assert_eq!(refusal(other).1, "idempotency-mismatch");
    assert_eq!(catalogue.titles(any_movie()).await, ["Paper Comets"]);
    catalogue.system.events::<MovieCreated>(1).await;
    catalogue.system.finish().await;
}

#[tokio::test]
async fn an_auditorium_needs_a_unique_name_and_a_known_time_zone() {
    let catalogue = Catalogue::open().await;
    let made = catalogue.auditorium("Grand", "Europe/Berlin").await;
    assert_eq!(catalogue.ask(&GetAuditorium { id: made.id }).await.unwrap(), made);
    assert_eq!(refusal(catalogue.ask(&auditorium("GRAND", "UTC")).await).1, "auditorium-name-taken");
    for zone in ["Europe/Atlantis", "CEST", "europe/berlin ", "'; drop table"] {
        let (status, _, field) = refusal(catalogue.ask(&auditorium("Other", zone)).await);
        assert_eq!((status, field.split(' ').next()), (422, Some("timeZone")), "{zone}");
    }
    assert_eq!(refusal(catalogue.ask(&GetAuditorium { id: Uuid::now_v7() }).await).0, 404);
    let listed = catalogue.ask(&ListAuditoriums { paging: Paging::default() }).await.unwrap();
    assert_eq!((listed.total, listed.items), (1, vec![made]));
    catalogue.system.finish().await;
}
