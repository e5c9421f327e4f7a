"""Reads a mail as its recipient's programs do, and prints what they see as JSON: email and json of Python, icalendar, poppler
(pdftotext, pdftoppm, pdfimages) and zbar. Nothing of Marquee's own writers is used. Usage: read_mail.py FILE, a mail or a PDF."""
import email, email.policy, json, pathlib, re, subprocess, sys, tempfile
from html.parser import HTMLParser

import icalendar


class Page(HTMLParser):
    """The visible text, the pictures, the links, and the data for programs."""

    def __init__(self):
        super().__init__()
        self.text, self.pictures, self.links, self.data, self.hidden = [], [], [], [], None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in ("script", "style", "title"):
            self.hidden = attributes.get("type", tag)
        if tag == "img":
            self.pictures.append([attributes.get("src"), attributes.get("alt")])
        if tag == "a":
            self.links.append(attributes.get("href"))
        if tag == "html":
            self.language = attributes.get("lang")

    def handle_endtag(self, tag):
        if tag in ("script", "style", "title"):
            self.hidden = None

    def handle_data(self, data):
        if self.hidden == "application/ld+json":
            self.data.append(json.loads(data))
        elif self.hidden is None:
            self.text.append(data)


def run(*command):
    return subprocess.run(command, capture_output=True, check=True).stdout.decode()


def codes(picture):
    """The texts of all QR codes of a picture."""
    read = subprocess.run(["zbarimg", "-q", "--raw", "-Sdisable", "-Sqrcode.enable", picture], capture_output=True)
    return read.stdout.decode().split()


def pdf(content, folder):
    path = folder / "tickets.pdf"
    path.write_bytes(content)
    run("pdftoppm", "-r", "150", "-png", path, folder / "page")
    pages = sorted(folder.glob("page*.png"))
    fonts = run("pdffonts", path).splitlines()[2:]
    images = [line.split() for line in run("pdfimages", "-list", path).splitlines()[2:]]
    return {
        "pages": len(pages),
        "text": run("pdftotext", "-layout", path, "-"),
        "codes": [code for page in pages for code in codes(page)],
        "embedded": all(" yes yes " in re.sub(r"\s+", " ", line) for line in fonts),
        "title": next((line[6:].strip() for line in run("pdfinfo", path).splitlines() if line.startswith("Title:")), None),
        # Page, kind, width and height of each.
        "images": [[int(image[0]), image[2], int(image[3]), int(image[4])] for image in images],
        "bytes": len(content),
    }


def calendar(content):
    read = icalendar.Calendar.from_ical(content)
    entry = next(iter(read.walk("VEVENT")))
    alarm = next(iter(read.walk("VALARM")), None)
    text = lambda name: None if entry.get(name) is None else str(entry[name])
    return {
        "method": str(read["method"]),
        "uid": text("uid"), "sequence": int(entry["sequence"]), "status": text("status"),
        "summary": text("summary"), "location": text("location"), "url": text("url"),
        "start": entry["dtstart"].dt.isoformat(),
        "end": entry["dtend"].dt.isoformat() if "dtend" in entry else None,
        "alarmMinutes": None if alarm is None else -alarm["trigger"].dt.total_seconds() / 60,
    }


def main(path):
    if path.endswith(".pdf"):
        with tempfile.TemporaryDirectory() as folder:
            return print(json.dumps(pdf(pathlib.Path(path).read_bytes(), pathlib.Path(folder)), ensure_ascii=False))
    with open(path, "rb") as file:
        mail = email.message_from_binary_file(file, policy=email.policy.default)
    seen = {"subject": mail["subject"], "from": str(mail["from"]), "to": str(mail["to"]), "replyTo": mail["reply-to"] and str(mail["reply-to"]),
            "language": mail["content-language"], "defects": [str(defect) for part in mail.walk() for defect in part.defects], "inline": {}}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for part in mail.walk():
            kind = part.get_content_type()
            if kind == "text/plain":
                seen["text"] = part.get_content()
            elif kind == "text/html":
                page = Page()
                page.feed(part.get_content())
                seen["html"] = {"text": re.sub(r"[ \t\r\n]+", " ", " ".join(page.text)), "pictures": page.pictures, "links": page.links,
                                "data": page.data, "language": page.language}
            elif kind == "text/calendar":
                seen["calendar"] = calendar(part.get_payload(decode=True))
                seen["calendarMethod"] = part.get_param("method")
            elif kind == "application/pdf":
                seen["pdf"] = pdf(part.get_payload(decode=True), folder)
            elif kind.startswith("image/"):
                picture = folder / "inline"
                picture.write_bytes(part.get_payload(decode=True))
                seen["inline"][part["content-id"].strip("<>")] = {"kind": kind, "codes": codes(picture), "name": part.get_filename()}
    print(json.dumps(seen, ensure_ascii=False))


main(sys.argv[1])
