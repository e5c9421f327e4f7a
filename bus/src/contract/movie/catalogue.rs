//! Requests about movies and their genres.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use uuid::Uuid;

use super::showing::{given, validate_versions};
use super::{AgeRating, ChangedMovie, FilmVersion, Genre, Movie, is_date, is_day, is_time, some_change};
use crate::contract::{Access, Fields, Page, Paging, Request, Rule};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateGenre {
    pub name: String,
}

impl Request for CreateGenre {
    const SUBJECT: &'static str = "rpc.movie.create_genre";
    const ACCESS: Access = Access::Admin;
    type Answer = Genre;
    fn validate(&self, fields: &mut Fields) {
        fields.line(&self.name, 1..=100, "name");
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateGenre {
    pub id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Request for UpdateGenre {
    const SUBJECT: &'static str = "rpc.movie.update_genre";
    const ACCESS: Access = Access::Admin;
    type Answer = Genre;
    fn validate(&self, fields: &mut Fields) {
        some_change(&[self.name.is_some()], fields);
        if let Some(name) = &self.name {
            fields.line(name, 1..=100, "name");
        }
    }
}

/// Refused while a movie has the genre.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteGenre {
    pub id: Uuid,
}

impl Request for DeleteGenre {
    const SUBJECT: &'static str = "rpc.movie.delete_genre";
    const ACCESS: Access = Access::Admin;
    type Answer = ();
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListGenres {
    pub paging: Paging,
}

impl Request for ListGenres {
    const SUBJECT: &'static str = "rpc.movie.list_genres";
    const ACCESS: Access = Access::Public;
    type Answer = Page<Genre>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateMovie {
    pub title: String,
    #[serde(default)]
    pub synopsis: String,
    pub duration_minutes: u16,
    /// Free text up to 20 characters, such as `PG-13`. With `ageRating` it is the text of that.
    #[serde(default)]
    pub rating: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_rating: Option<AgeRating>,
    /// `YYYY-MM-DD`.
    pub release_date: String,
    #[serde(default)]
    pub language: String,
    /// The versions that its showtimes may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<FilmVersion>,
    /// The formats that its showtimes may have, such as `3D`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
    #[serde(default)]
    pub genre_ids: Vec<Uuid>,
}

impl Request for CreateMovie {
    const SUBJECT: &'static str = "rpc.movie.create_movie";
    const ACCESS: Access = Access::Admin;
    type Answer = Movie;
    fn validate(&self, fields: &mut Fields) {
        fields.line(&self.title, 1..=200, "title");
        fields.text(&self.synopsis, 0..=5_000, "synopsis");
        fields.line(&self.rating, 0..=20, "rating");
        fields.line(&self.language, 0..=20, "language");
        if let Some(rating) = &self.age_rating {
            rating.validate(fields, "ageRating");
        }
        validate_versions(&self.versions, &self.formats, fields);
        fields.range(self.duration_minutes, 1..=1_000, "durationMinutes");
        fields.check(is_date(&self.release_date), "releaseDate", Rule::Date);
        let distinct: HashSet<_> = self.genre_ids.iter().collect();
        fields.check(distinct.len() == self.genre_ids.len(), "genreIds", Rule::Twice);
        fields.count(self.genre_ids.len(), 0..=20, "genreIds", "genres");
    }
}

/// Absent fields stay unchanged. With a new duration the ends of the movie's showtimes to come move.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateMovie {
    pub id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synopsis: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_minutes: Option<u16>,
    /// Free text up to 20 characters, such as `PG-13`. Another text without `ageRating` removes the age rating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<String>,
    /// `null` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub age_rating: Option<Option<AgeRating>>,
    /// `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_date: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// All of them, not only new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<FilmVersion>>,
    /// All of them, not only new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formats: Option<Vec<String>>,
    /// All of them, not only new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genre_ids: Option<Vec<Uuid>>,
    /// Changes the duration even where showtimes then overlap. Without this, such a change is refused, with the overlaps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_overlaps: bool,
}

impl UpdateMovie {
    /// The request that would create the movie as it is after the change.
    pub fn applied_to(&self, movie: &Movie) -> CreateMovie {
        let Self {
            id: _,
            title,
            synopsis,
            duration_minutes,
            rating,
            age_rating,
            release_date,
            language,
            versions,
            formats,
            genre_ids,
            accept_overlaps: _,
        } = self.clone();
        let is_retyped = rating.as_ref().is_some_and(|text| *text != movie.rating);
        let kept_rating = movie.age_rating.clone().filter(|_| !is_retyped);
        CreateMovie {
            title: title.unwrap_or_else(|| movie.title.clone()),
            synopsis: synopsis.unwrap_or_else(|| movie.synopsis.clone()),
            duration_minutes: duration_minutes.unwrap_or(movie.duration_minutes),
            rating: rating.unwrap_or_else(|| movie.rating.clone()),
            age_rating: age_rating.unwrap_or(kept_rating),
            release_date: release_date.unwrap_or_else(|| movie.release_date.clone()),
            language: language.unwrap_or_else(|| movie.language.clone()),
            versions: versions.unwrap_or_else(|| movie.versions.clone()),
            formats: formats.unwrap_or_else(|| movie.formats.clone()),
            genre_ids: genre_ids.unwrap_or_else(|| movie.genre_ids.clone()),
        }
    }
}

impl Request for UpdateMovie {
    const SUBJECT: &'static str = "rpc.movie.update_movie";
    const ACCESS: Access = Access::Admin;
    type Answer = ChangedMovie;
    fn validate(&self, fields: &mut Fields) {
        let Self {
            id: _,
            title,
            synopsis,
            duration_minutes,
            rating,
            age_rating,
            release_date,
            language,
            versions,
            formats,
            genre_ids,
            accept_overlaps: _,
        } = self;
        let texts = [title, synopsis, rating, release_date, language].map(Option::is_some);
        let shown = [age_rating.is_some(), versions.is_some(), formats.is_some()].contains(&true);
        some_change(&[texts.contains(&true), shown, duration_minutes.is_some(), genre_ids.is_some()], fields);
        // Absent fields are replaced by valid values, so that the rules are written once.
        CreateMovie {
            title: title.clone().unwrap_or_else(|| "-".into()),
            synopsis: synopsis.clone().unwrap_or_default(),
            duration_minutes: duration_minutes.unwrap_or(1),
            rating: rating.clone().unwrap_or_default(),
            age_rating: age_rating.clone().flatten(),
            release_date: release_date.clone().unwrap_or_else(|| "2000-01-01".into()),
            language: language.clone().unwrap_or_default(),
            versions: versions.clone().unwrap_or_default(),
            formats: formats.clone().unwrap_or_default(),
            genre_ids: genre_ids.clone().unwrap_or_default(),
        }
        .validate(fields);
    }
}

/// Its showtimes to come are cancelled; refused while one of them has seats held or sold.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteMovie {
    pub id: Uuid,
}

impl Request for DeleteMovie {
    const SUBJECT: &'static str = "rpc.movie.delete_movie";
    const ACCESS: Access = Access::Admin;
    type Answer = ();
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetMovie {
    pub id: Uuid,
}

impl Request for GetMovie {
    const SUBJECT: &'static str = "rpc.movie.get_movie";
    const ACCESS: Access = Access::Public;
    type Answer = Movie;
}

/// The order; `-` means descending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MovieSort {
    #[default]
    #[serde(rename = "title")]
    Title,
    #[serde(rename = "-title")]
    TitleDown,
    #[serde(rename = "releaseDate")]
    ReleaseDate,
    #[serde(rename = "-releaseDate")]
    ReleaseDateDown,
    /// Movies that play soonest first, movies without a showtime to come last.
    #[serde(rename = "nextShowtime")]
    NextShowtime,
}

/// `date` and `showTime` apply to the same showtime; without a `date`, to one that has not begun.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListMovies {
    /// Words, each the beginning of a word of the title, or a part of one in scripts without spaces; without case and accents.
    pub name: Option<String>,
    /// A genre's name or id.
    pub genre: Option<String>,
    /// `YYYY-MM-DD` of a showtime, or `today`, in the auditorium's time zone.
    pub date: Option<String>,
    /// `HH:MM` of a showtime, in the auditorium's time zone.
    pub show_time: Option<String>,
    #[serde(default)]
    pub sort: MovieSort,
    pub paging: Paging,
}

impl Request for ListMovies {
    const SUBJECT: &'static str = "rpc.movie.list_movies";
    const ACCESS: Access = Access::Public;
    type Answer = Page<Movie>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
        let short = |v: &Option<String>| v.as_ref().is_none_or(|v| v.chars().count() <= 200);
        fields.check(short(&self.name), "name", Rule::Length { min: 0, max: 200 });
        fields.check(short(&self.genre), "genre", Rule::Length { min: 0, max: 200 });
        fields.check(self.date.as_deref().is_none_or(is_day), "date", Rule::Date);
        fields.check(self.show_time.as_deref().is_none_or(is_time), "showTime", Rule::Time);
    }
}
