//! The site in the shell: the cinema's name, its colour and icon, and as JSON what `web/lib/site.js` shows.
//!
//! Invariant: what staff typed stays text: it is escaped for HTML, braces included, so that it is no placeholder either.

use bus::contract::site::{Site, SiteFields};
use serde_json::{Value, json};

use crate::programme::escaped;

/// The colour of the header, as `web/style/base.css` has it.
const HEADER: &str = "#171213";
/// Under an icon the systems show this much of a name.
const SHORT_NAME_MAX: usize = 12;

/// A placeholder in `index.html` and its text.
pub fn face(site: &Site) -> [(&'static str, String); 4] {
    let escaped = |text: &str| escaped(text).into_owned();
    let theme = &site.of.theme;
    let icon = theme.logo_url.as_deref().map(escaped).unwrap_or_else(|| "{assets}/icon.svg".to_owned());
    [
        ("{cinema}", escaped(&site.of.name)),
        ("{header}", escaped(header(site))),
        ("{icon}", icon),
        ("{site}", escaped(&shown(&site.of).to_string())),
    ]
}

fn header(site: &Site) -> &str {
    site.of.theme.colours.as_ref().map_or(HEADER, |colours| &colours.header)
}

/// What the page shows of the site; as `shown` in `web/lib/site.js`.
fn shown(site: &SiteFields) -> Value {
    json!({
        "name": site.name,
        "company": site.legal.company,
        "address": site.legal.address,
        "languages": site.languages,
        "logoUrl": site.theme.logo_url,
        "colours": site.theme.colours,
        "contact": site.contact,
        "links": site.links,
    })
}

/// The web app manifest; `icon` is the address of the page's own icon.
pub fn manifest(site: &Site, icon: &str) -> String {
    let SiteFields { name, theme, .. } = &site.of;
    let short: String = name.chars().take(SHORT_NAME_MAX).collect();
    let icon = match &theme.logo_url {
        Some(logo) => json!({"src": logo, "sizes": "any", "purpose": "any"}),
        None => json!({"src": icon, "sizes": "any", "type": "image/svg+xml", "purpose": "any"}),
    };
    let manifest = json!({
        "name": name,
        "short_name": short.trim_end(),
        "start_url": "/",
        "display": "standalone",
        "background_color": header(site),
        "theme_color": header(site),
        "icons": [icon],
    });
    manifest.to_string()
}

/// The origin of the logo, where it is not this server: `https://kino.example`.
pub fn logo_origin(site: &Site) -> Option<&str> {
    let logo = site.of.theme.logo_url.as_deref()?;
    let (scheme, rest) = logo.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    // Nothing that could end a directive of the policy.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    host.bytes().all(is_plain).then(|| &logo[..scheme.len() + 3 + host.len()])
}

#[cfg(test)]
mod tests {
    use bus::contract::Timestamp;
    use bus::contract::site::{Colours, DEFAULT_SITE, Theme};

    use super::*;

    fn site(logo: Option<&str>) -> Site {
        let colours = Colours {
            header: "#102030".into(),
            on_header: "#ffffff".into(),
            button: "#ffffff".into(),
            on_button: "#000000".into(),
        };
        let theme = Theme { logo_url: logo.map(str::to_owned), colours: Some(colours) };
        let of = SiteFields { theme, ..SiteFields::named("Kino <b>{assets}</b> & \"Café\"") };
        let at = Timestamp::wall_clock();
        Site { id: DEFAULT_SITE, of, version: 2, created_at: at, updated_at: at }
    }

    #[test]
    fn a_name_is_text_and_no_placeholder() {
        for (name, text) in face(&site(Some("/media/logo.png"))) {
            assert!(!text.contains(['<', '>', '"', '{', '}']), "{name}: {text}");
        }
    }

    #[test]
    fn only_the_origin_of_a_logo_elsewhere_is_allowed() {
        let origin = |logo| logo_origin(&site(Some(logo))).map(str::to_owned);
        assert_eq!(origin("/media/logo.png"), None);
        assert_eq!(origin("https://cdn.example:8443/a.png").as_deref(), Some("https://cdn.example:8443"));
        assert_eq!(origin("https://cdn.example;script-src/a.png"), None);
    }

    #[test]
    fn the_manifest_has_the_name_and_the_colour() {
        let manifest: Value = serde_json::from_str(&manifest(&site(None), "/assets/1/icon.svg")).unwrap();
        assert_eq!(manifest["name"], "Kino <b>{assets}</b> & \"Café\"");
        assert_eq!(
            (&manifest["theme_color"], &manifest["icons"][0]["src"]),
            (&json!("#102030"), &json!("/assets/1/icon.svg"))
        );
    }
}
