"""Reads the HTML of a running gateway as a search engine does, without JavaScript, with a parser that knows nothing of Marquee
(extruct), and checks what it finds against the properties that search engines require of an event (Google's documentation of
`Event`) and against the REST API. Run by scripts/check-api.sh on the demo cinema: `structured.py URL`."""

import json
import sys
import urllib.error
import urllib.request

import extruct

URL = sys.argv[1].rstrip("/")
SCHEMA = "https://schema.org/"
problems = []


def expect(fact, what):
    if not fact:
        problems.append(f"{what}    curl {URL}")


def read(path):
    with urllib.request.urlopen(URL + path) as answer:
        return answer.read().decode()


def status(path):
    try:
        return urllib.request.urlopen(urllib.request.Request(URL + path, headers={"Accept": "text/html"})).status
    except urllib.error.HTTPError as error:
        return error.code


def nodes(path):
    """The nodes of schema.org, and OpenGraph's properties, of a page."""
    found = extruct.extract(read(path), base_url=URL + path, syntaxes=["json-ld", "opengraph"], uniform=False)
    graph = [node for block in found["json-ld"] for node in block.get("@graph", [block])]
    properties = dict(found["opengraph"][0]["properties"]) if found["opengraph"] else {}
    for name in ("og:title", "og:description", "og:url", "og:type"):
        expect(properties.get(name), f"{path}: no {name}")
    return graph


def check_event(event, showtime, path):
    for name in ("name", "startDate", "endDate", "eventStatus", "location", "url", "workPresented"):
        expect(event.get(name), f"{path}: an event without {name}")
    expect(event["location"].get("@type") == "MovieTheater", f"{path}: the place is no cinema")
    expect(event["location"].get("name") and event["location"].get("address"), f"{path}: no name or address")
    expect(event["eventStatus"].startswith(SCHEMA + "Event"), f"{path}: {event['eventStatus']}")
    prices = {amount["amount"] for kind, amount in showtime["prices"].items() if kind != "COMPANION"}
    offered = set()
    for offer in event.get("offers", []):
        expect(offer["availability"].startswith(SCHEMA), f"{path}: {offer['availability']}")
        expect(len(offer["priceCurrency"]) == 3, f"{path}: {offer['priceCurrency']}")
        # The demo sells in a currency with two digits.
        offered.add(round(float(offer["price"]) * 100))
    expect(offered == prices, f"{path}: offers {offered}, the API {prices}")
    version = showtime.get("filmVersion")
    expect(event.get("inLanguage") == (version and version["audio"]), f"{path}: another language than the API")
    expect(event.get("videoFormat") == showtime.get("format"), f"{path}: another format than the API")


def main():
    showtimes = json.loads(read("/v1/showtimes?pageSize=20"))["items"]
    expect(showtimes, "the demo has no showtimes")
    for showtime in showtimes[:3]:
        path = f"/showtimes/{showtime['id']}"
        events = [node for node in nodes(path) if node["@type"] == "ScreeningEvent"]
        expect(len(events) == 1, f"{path}: {len(events)} events")
        for event in events:
            check_event(event, showtime, path)
        path = f"/movies/{showtime['movieId']}"
        graph = nodes(path)
        movies = [node for node in graph if node["@type"] == "Movie"]
        expect(len(movies) == 1 and movies[0]["name"] == showtime["movieTitle"], f"{path}: no movie")
        expect(any(node["url"].endswith(showtime["id"]) for node in graph), f"{path}: lacks a showtime")
    expect(any(node["@type"] == "ScreeningEvent" for node in nodes("/")), "/: no events")
    nobody = "00000000-0000-7000-8000-000000000000"
    for path in (f"/movies/{nobody}", f"/showtimes/{nobody}"):
        expect(status(path) == 404, f"{path}: not 404")
    document = json.loads(read("/v1/programme"))
    ids = {showtime["id"] for movie in document["movies"] for showtime in movie["showtimes"]}
    expect(ids >= {showtime["id"] for showtime in showtimes}, "/v1/programme lacks showtimes")
    statuses = {showtime["status"] for movie in document["movies"] for showtime in movie["showtimes"]}
    expect("DRAFT" not in statuses, "/v1/programme has a draft")
    for problem in problems:
        print(problem)
    print(f"structured: {len(problems)} problems")
    sys.exit(1 if problems else 0)


main()
