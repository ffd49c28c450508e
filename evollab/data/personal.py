"""Finding what identifies a person or opens a door: addresses, numbers, keys.

Rules for forms that a program can verify: check sums, assigned ranges, reserved examples. What a name
or a story gives away is not found. All patterns take linear time.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import pairwise

E_MAIL = "e-mail address"
PHONE = "phone number"
CARD = "card number"
BANK = "bank account (IBAN)"
SSN = "social security number"
IP = "IP address"
KEY = "secret key"
KINDS = (E_MAIL, PHONE, CARD, BANK, SSN, IP, KEY)

_MAIL = re.compile(r"(?<![\w.%+-])([A-Za-z0-9._%+-]{1,64})@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w@]|-\w)")
_RESERVED_ENDS = {"example", "test", "invalid", "localhost", "local", "internal", "lan"}
_FILE_ENDS = {"png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "js", "ts", "py", "html", "json"}
_NO_DOMAIN = {"domain", "yourdomain", "mydomain", "yourcompany", "mycompany", "yourwebsite", "mywebsite"}
_NOBODY = re.compile(
    r"j(?:ohn|ane)?[._-]?doe[._-]?\d{0,4}|(?:my|your|their|some)?[._-]?(?:user|username|name|g?mail|email|(?:g?mail[._-]?|email[._-]?)?address|test|tester|example|sample|someone|somebody|"
    r"anyone|nobody|recipient|sender|receiver|firstname|lastname|foo|bar|baz|abc|xyz|me|you|info|contact|support|sales|"
    r"help|helpdesk|service|office|admin|administrator|root|webmaster|postmaster|hostmaster|abuse|security|privacy|press|"
    r"media|jobs|careers|hr|billing|orders|offers|promotions|news|newsletter|alerts|notifications?|marketing|team|hello|"
    r"enquiries|inquiries|feedback|donotreply|do-not-reply|no-?reply|git|hg|svn|bot|daemon)s?[._-]?\d{0,4}",
    re.IGNORECASE | re.ASCII,
)
"""Local parts that stand for no person: placeholders and offices."""

_DIGITS = re.compile(r"\d[\d ().+-]{5,}\d", re.ASCII)
_NORTH_AMERICA = re.compile(
    r"(?<![\w.+/-])(?:\+?1[ .-]?)?(?:\((\d{3})\)[ .-]?|(\d{3})[.-])(\d{3})[ .-](\d{4})(?![\w-]|\.\d)", re.ASCII
)
_INTERNATIONAL = re.compile(r"(?<![\w+])\+([1-9][\d ().-]{6,24})", re.ASCII)
_COUNTRY = re.compile(
    r"7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|(?:2[1-69]|3[578]|42|5[09]|6[789]|8[0578]|9[679])\d",
    re.ASCII,
)
"""Country codes in use (ITU E.164), without North America's."""
_NO_PERSON = {"800", "833", "844", "855", "866", "877", "888", "900"}
_FICTION = re.compile(
    r"44207946\d{4}|44(?:113|114|115|116|117|118|121|131|141|151|161|191)496\d{4}|447700900\d{3}|6155{3}"
)
"""Ranges that British and Australian regulators keep for drama."""

_LONG = re.compile(r"(?<![\w.,+$-])\d{14,16}(?![\w-]|[.,]\d)", re.ASCII)
_GROUPED = re.compile(
    r"(?<![\w.,+$-])(?<!\d )\d{4}([ -])(?:\d{4}\1\d{4}\1\d{4}|\d{6}\1\d{4,5})(?![\w-]|[.,]\d)", re.ASCII
)
_TEST_CARDS = {
    "4111111111111111", "4242424242424242", "4012888888881881", "4000056655665556", "4000000000000002",
    "5555555555554444", "5105105105105100", "5200828282828210", "2223003122003222", "378282246310005",
    "371449635398431", "378734493671000", "6011111111111117", "6011000990139424", "30569309025904",
    "38520000023237", "3530111333300000", "3566002020360505",
}  # fmt: skip
"""Numbers that card networks and payment services publish for tests."""

_LENGTHS = {
    pair[:2]: int(pair[2:])
    for pair in "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
    "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 "
    "SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20".split()
}
"""Characters of an account by country (the registry of ISO 13616)."""
_ACCOUNT = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", re.ASCII)
_SHOWN_ACCOUNTS = {
    "GB82WEST12345698765432", "GB29NWBK60161331926819", "GB33BUKB20201555555555", "DE89370400440532013000",
    "FR1420041010050500013M02606", "CH9300762011623852957", "NL91ABNA0417164300", "BE68539007547034",
}  # fmt: skip
"""Accounts that the registry and its articles print as examples."""

_SOCIAL = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])", re.ASCII)
_PUBLISHED_SOCIAL = {"078-05-1120", "219-09-9999", "123-45-6789", "111-11-1111", "555-55-5555"}

_FOUR = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII)
_SIX = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}(?::{1,2}[0-9A-Fa-f]{1,4}){3,7}(?:::)?(?![\w:])", re.ASCII)
_VERSION = re.compile(r"(?:version|release|section|chapter|build|\bv\.?|\bver\.?)[ :]?$", re.IGNORECASE)
_RESOLVERS = {
    "8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "149.112.112.112", "208.67.222.222", "208.67.220.220",
    "2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111", "2606:4700:4700::1001",
}  # fmt: skip
"""Public name servers, which are nobody's home."""

_KEYS = re.compile(
    r"(?<![A-Za-z0-9_-])(?:sk-[A-Za-z0-9_-]{20,200}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[opsur]_[A-Za-z0-9]{36,255}|"
    r"github_pat_[A-Za-z0-9_]{60,255}|glpat-[A-Za-z0-9_-]{20,64}|xox[abeoprs]-[A-Za-z0-9-]{20,200}|AIza[A-Za-z0-9_-]{35}|"
    r"hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,255}|[rs]k_live_[A-Za-z0-9]{20,128}|"
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}|eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{20,1000})"
    r"(?![A-Za-z0-9_])",
    re.ASCII,
)
_KEY_BEGINS = ("sk-", "AKIA", "ASIA", "gh", "glpat-", "xox", "AIza", "hf_", "npm_", "pypi-", "k_live_", "SG.", "eyJ")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"[A-Za-z0-9+/]{40}")
_NOT_A_KEY = re.compile(r"example|sample|your|xxxx|0000|1234567|abcdef|placeholder|redacted", re.IGNORECASE)


def find(text: str) -> Iterator[str]:
    """What there is in `text`, a name of KINDS for each find, in the order of KINDS. Reserved examples
    (user@example.com, 212-555-0100, 192.0.2.1, test cards ...) are none."""
    if "@" in text:
        yield from (E_MAIL for found in _MAIL.finditer(text) if _is_someone(found[1], found[2]))
    if _DIGITS.search(text):
        yield from (PHONE for _ in _phones(text))
        yield from (CARD for pattern in (_LONG, _GROUPED) for found in pattern.finditer(text) if is_card(found[0]))
        yield from (SSN for found in _SOCIAL.finditer(text) if found[0] not in _PUBLISHED_SOCIAL)
    yield from (BANK for found in _ACCOUNT.finditer(text) if is_account(found[0]))
    if text.count(".") > 2:
        yield from (
            IP
            for found in _FOUR.finditer(text)
            if _is_address(found[0], text[max(0, found.start() - 20) : found.start()])
        )
    if text.count(":") > 2:
        yield from (IP for found in _SIX.finditer(text) if _is_address(found[0], ""))
    if any(begin in text for begin in _KEY_BEGINS):
        yield from (KEY for found in _KEYS.finditer(text) if _is_secret(found[0]))
    if "PRIVATE KEY" in text:
        yield from (KEY for found in _PRIVATE_KEY.finditer(text) if _has_body(text[found.end() : found.end() + 500]))


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0


def is_card(text: str) -> bool:
    """Whether the digits of `text` are a payment card's: range and length of a network, check digit, and
    none of the numbers that networks publish for tests."""
    digits = re.sub(r"\D", "", text)
    brand = int(digits[:4] or 0)
    match len(digits):
        case 14:
            known = 3000 <= brand <= 3059 or brand // 100 in (36, 38, 39)
        case 15:
            known = brand // 100 in (34, 37)
        case 16:
            known = (
                brand // 1000 == 4 or 51 <= brand // 100 <= 55 or 2221 <= brand <= 2720
                or brand == 6011 or 644 <= brand // 10 <= 649 or brand // 100 == 65 or 3528 <= brand <= 3589
            )  # fmt: skip
        case _:
            known = False
    return known and luhn(digits) and digits not in _TEST_CARDS and len(set(digits)) > 2


def is_account(text: str) -> bool:
    """Whether `text` begins with an IBAN: the length of its country, check digits of ISO 7064 MOD 97-10,
    and no published example."""
    compact = text.replace(" ", "")
    length = _LENGTHS.get(compact[:2], 99)
    number = compact[:length]
    if len(number) < length or number in _SHOWN_ACCOUNTS:
        return False
    return int("".join(str(int(sign, 36)) for sign in number[4:] + number[:4])) % 97 == 1


def _is_someone(name: str, domain: str) -> bool:
    labels = domain.lower().split(".")
    if labels[-1] in _RESERVED_ENDS or labels[-1] in _FILE_ENDS:
        return False
    if any(label.startswith("example") or label in _NO_DOMAIN for label in labels):
        return False
    return _NOBODY.fullmatch(name) is None and any(map(str.isalpha, name))


def _phones(text: str) -> Iterator[str]:
    for found in _NORTH_AMERICA.finditer(text):
        if _rings((found[1] or found[2]) + found[3] + found[4]):
            yield found[0]
    for found in _INTERNATIONAL.finditer(text):
        number = ""
        for group in re.findall(r"\d+", found[1]):
            if len(number) + len(group) > 15:
                break
            number += group
        if number[:1] == "1":
            rings = not _NORTH_AMERICA.match(found[0]) and _rings(number[1:11])
        else:
            country = _COUNTRY.match(number)
            rings = country is not None and len(number) >= 8 and not number.startswith("00", country.end())
        if rings and not _FICTION.match(number):
            yield found[0]


def _rings(number: str) -> bool:
    """Whether a North American number can be a person's: area and exchange in use, not 555 (information
    and fiction), not toll-free, no run such as 234-567-8901."""
    area, exchange = number[:3], number[3:6]
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(number)}
    return (
        len(number) == 10 and area[0] > "1" and exchange[0] > "1" and area[1] != "9"
        and "11" not in (area[1:], exchange[1:]) and "555" not in (area, exchange)
        and area not in _NO_PERSON and len(steps) > 1
    )  # fmt: skip


def _is_address(text: str, before: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 4 and all(int(part) < 20 for part in text.split(".")):
        return False  # a version, or the number of a section
    return address.is_global and str(address) not in _RESOLVERS and not _VERSION.search(before)


def _is_secret(text: str) -> bool:
    varied = len(set(text)) >= 12 and text.lower() != text and any(map(str.isdigit, text))
    return varied and not _NOT_A_KEY.search(text)


def _has_body(text: str) -> bool:
    body = _KEY_BODY.search(text)
    return body is not None and len(set(body[0])) >= 12 and not _NOT_A_KEY.search(text[:100])
