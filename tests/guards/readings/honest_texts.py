"""Texts that people and programs write without meaning to hide anything; none of them is a disguise."""

from __future__ import annotations

import base64
import hashlib
import json

_IMAGE = base64.b64encode(bytes(range(256)) * 2).decode()
_HASH = hashlib.sha256(b"wardgate").hexdigest()
_MD5 = hashlib.md5(b"wardgate").hexdigest()


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


_TOKEN = ".".join(
    [
        _part({"alg": "HS256", "typ": "JWT"}),
        _part({"sub": "1234567890", "name": "John Doe", "iat": 1516239022}),
        "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    ]
)

HONEST = {
    # English
    "a question": "What is the best way to get a red wine stain out of a cotton shirt?",
    "shouting": "WHY IS MY ORDER STILL NOT HERE??? I WANT MY MONEY BACK!!!",
    "no marks at all": "hey can you tell me when the next train to boston leaves i need to be there by noon",
    "chat slang": "lol idk u tell me gr8 2 see u l8r m8 brb",
    "typos of a hurry": "Can you halp me wirte an email to my landlrod about the heating please",
    "one emoji": "Happy birthday! 🎂",
    "emoji after sentences": "Great job! 🎉 See you tomorrow 😊 and bring cake 🍰",
    "emoji list": "Shopping:\n🍎 apples\n🥦 broccoli\n🧀 cheese\n🥖 bread",
    "numbered list": "1. Preheat the oven.\n2. Mix flour and butter.\n3. Bake for 20 minutes.",
    "lettered list": 'a) "the cat"\nb) "the dog"\nc) "the bird"',
    "numbered quotes": '1. "To be or not to be"\n2. "All the world is a stage"\n3. "Once more unto the breach"',
    "steps in quotes": 'Step 1: "Open settings"\nStep 2: "Choose network"\nStep 3: "Press reset"',
    "abbreviations": "e.g. the U.S.A., i.e. the F.B.I., a.k.a. the Feds, at 5 p.m. on Mon. vs. Tues.",
    "hyphens": "a well-known, state-of-the-art, two-year-old mother-in-law joke",
    "initials": "J. R. R. Tolkien and C. S. Lewis met at Oxford with H. G. Wells",
    "alphabet": "The alphabet is A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
    "palindromes": "A man, a plan, a canal: Panama. Was it a car or a cat I saw? No lemon, no melon.",
    "prices and codes": "Order A4-80gsm, 2x M8 bolts, 3.5mm jack, 4K TV, B12 vitamins, H2O and CO2 for $5.99",
    "versions": "Upgrade from py3.11 to v2.4.6-rc1, then k8s 1.29, i18n, a11y, l10n and e2e tests",
    "licence plates": "The plates were B4D 1337, 5H0P AB1 and W0W 123",
    "hashtag": "so proud #throwbackthursday #nofilter",
    "screen name": "follow @xX_dr4g0n_Xx and @l33t_g4m3r on the stream",
    "phone numbers": "Call +49 30 901820 or 0123 4567890 between 10:00 and 18:00",
    "long number": "My tracking number is 20304050607080901020304050",
    "binary arithmetic": "In binary 5 is 101, 8 is 1000 and 255 is 11111111",
    "bytes of a header": "The file starts with 89 50 4E 47 0D 0A 1A 0A",
    "mac and ip": "eth0 has 00:1A:2B:3C:4D:5E and fe80::21a:2bff:fe3c:4d5e, IP 192.168.10.254",
    "colours": "Use #ffcc00 and #1a2b3c for the borders, rgb(255, 204, 0) for the text",
    "chess": "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6 5. O-O Be7",
    "music": "Chords: Am F C G Am F C G, then Dm7 G7 Cmaj7",
    "dna": "The primer is ATGCGTACGTTAGCCTAGGCTAACGTTAGC and its complement",
    "old spelling": "Whan that Aprille with his shoures soote the droghte of March hath perced to the roote",
    "scots": "Wee, sleekit, cowrin, tim'rous beastie, O, what a panic's in thy breastie!",
    # machines
    "uuid": "Request 123e4567-e89b-12d3-a456-426614174000 failed",
    "sha256": f"sha256:{_HASH}",
    "md5": f"{_MD5}  archive.tar.gz",
    "git": "Fixed in a46871c and 4087cad5b1f0e2d3c4b5a69788796a5b4c3d2e1f",
    "web token": f"Authorization: Bearer {_TOKEN}",
    "api key": "export API_KEY=AKIAIOSFODNN7EXAMPLE SECRET=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "public key": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7vbqajDhA+17QmY1DnQn4 me@laptop",
    "certificate": "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQm9yZGVyZWQxEzARBgNV\n-----END CERTIFICATE-----",
    "mail with an attachment": "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
    + "\n".join(_IMAGE[at : at + 76] for at in range(0, len(_IMAGE), 76)),
    "data url": f'<img src="data:image/png;base64,{_IMAGE[:200]}">',
    "url with a query": "https://example.com/search?q=red+shoes&size=42&utm_source=news%20letter&ref=a%2Fb%3Dc",
    "search url": "https://www.example.org/find?text=how%20to%20bake%20bread%20at%20home",
    "url in another script": "https://de.wikipedia.org/wiki/%C3%9Cber_%C3%84pfel_und_%C3%96l",
    "cyrillic url": "https://ru.wikipedia.org/wiki/%D0%9C%D0%BE%D1%81%D0%BA%D0%B2%D0%B0",
    "path": "C:\\Users\\maria\\Documents\\Reports\\2024\\summary_final_v2.docx",
    "markup": "AT&amp;T &lt;b&gt;bold&lt;/b&gt; &copy; 2024 &nbsp;&mdash; R&D, Q&A",
    "numbered references": "caf&#233; &#8211; na&#239;ve &#8220;quoted&#8221; &#128512;",
    "json": '{"name": "Ada", "tags": ["x", "y"], "active": true, "id": 1234567890}',
    "json escapes": '{"name": "Z\\u00fcrich", "mood": "\\ud83d\\ude00", "sign": "\\u20ac"}',
    "python": "def add(a: int, b: int) -> int:\n    # sum of both\n    return a + b\n\nprint(add(1, 2))",
    "assignments": 'host = "localhost"\nport = "8080"\nuser = "admin"\nname = host + ":" + port',
    "shell": 'for f in *.txt; do mv "$f" "${f%.txt}.md"; done && ls -la | grep -v \'^d\'',
    "regular expression": r"^(?:[a-z0-9!#$%&'*+/=?^_`{|}~-]+)@(?:[a-z0-9-]+\.)+[a-z]{2,}$",
    "sql": "SELECT u.id, u.name FROM users u LEFT JOIN orders o ON o.uid = u.id WHERE o.id IS NULL;",
    "latex": r"Let $f\colon \mathbb{R}^n \to \mathbb{R}$, $\int_0^1 x^2\,dx = \frac{1}{3}$, \textbf{QED}.",
    "stack trace": 'File "/usr/lib/python3.11/asyncio/runners.py", line 190, in run\n    ValueError: bad input',
    "log": "2024-11-24T18:03:49Z INFO worker-7f9c4d-xk2lp started in 0.42s pid=1234 mem=56.7MiB",
    "csv": "id,name,score\n1,Ann,3.5\n2,Bob,4.0\n3,Cy,2.75",
    "table": "| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |\n| x | y | z |",
    "assembly": "mov eax, 0x1\nint 0x80\nxor ebx, ebx\njmp 0xdeadbeef",
    "hex dump": "00000000  7f 45 4c 46 02 01 01 00  00 00 00 00 00 00 00 00",
    "minified": "!function(e,t){var n=e.a||{};t.exports=n,n.b=function(r){return r?1:0}}(window,module);",
    "crossword": "7 across: opposite of 'on' (3), 12 down: 'was' backwards (3)",
    # other languages
    "german": "Können Sie mir bitte sagen, wann die Geschwindigkeitsbegrenzung aufgehoben wird?",
    "german with soft hyphens": "Die Donau\u00addampf\u00adschiff\u00adfahrts\u00adgesell\u00adschaft fährt bis Wien",
    "french": "Où êtes-vous né, garçon ? Ça va très bien, merci pour l'œuvre.",
    "spanish": "¿Dónde está la biblioteca? ¡Mañana será otro día, señor!",
    "portuguese": "Você não está sozinho; amanhã não haverá reunião às três.",
    "italian": "Perché non andiamo al mare domani mattina con i tuoi amici?",
    "dutch": "Het is vandaag erg koud en ik wil graag een kopje koffie.",
    "polish": "Zażółć gęślą jaźń, a potem pójdziemy na spacer nad rzekę.",
    "polish without accents": "Prosze powiedz mi jak dojechac do dworca kolejowego w Krakowie",
    "czech": "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "hungarian": "Jó napot kívánok, hogyan tudok eljutni a pályaudvarra?",
    "finnish": "Missä on lähin juna-asema ja milloin seuraava juna lähtee Helsinkiin?",
    "welsh": "Mae hen wlad fy nhadau yn annwyl i mi, gwlad beirdd a chantorion",
    "indonesian": "Bagaimana cara membuat nasi goreng yang enak untuk keluarga besar?",
    "swahili": "Habari ya asubuhi, ningependa kujua bei ya tiketi ya treni.",
    "turkish": "Yarın hava nasıl olacak, şemsiye almalı mıyım?",
    "vietnamese": "Tiếng Việt có nhiều dấu: ế, ệ, ữ. Bạn có khỏe không?",
    "vietnamese decomposed": "Tie\u0302\u0301ng Vie\u0323\u0302t co\u0301 nhie\u0302\u0300u da\u0302\u0301u",
    "russian": "Подскажите, пожалуйста, как пройти в библиотеку имени Ленина?",
    "ukrainian": "Ще не вмерла України і слава, і воля",
    "greek": "Αυτό είναι ένα κείμενο, ο νόμος και το όνομα",
    "arabic": "مرحبا بالعالم، كيف حالك اليوم؟ أريد أن أتعلم الطبخ.",
    "arabic with marks of direction": "\u200fمرحبا\u200f (hello) \u200eworld\u200e",
    "persian with ZWNJ": "می‌خواهم کتاب‌ها را بخوانم و به خانه‌ام بروم",
    "hebrew with points": "שָׁלוֹם עולם, מה שלומך היום?",
    "hindi": "नमस्ते दुनिया, क्‍ष और ज्ञ कैसे लिखते हैं?",
    "marathi": "मला उद्या मुंबईला जायचे आहे, वेळापत्रक सांगा.",
    "bengali": "আমি বাংলায় গান গাই, আমি বাংলার গান গাই।",
    "tamil": "வணக்கம், நீங்கள் எப்படி இருக்கிறீர்கள்?",
    "thai": "สวัสดีชาวโลก ที่นี่อากาศดีมาก",
    "chinese": "你好世界。这是一个测试,请问图书馆在哪里?",
    "japanese": "こんにちは世界、明日の天気はどうですか。がんばって",
    "korean": "안녕하세요 세계, 도서관이 어디에 있습니까?",
    "full width in Chinese": "请访问ABC公司的网站,电话:12345678",
    "mixed scripts": "I said привет to my friend Юра and он ответил hello",
    "families": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 and \U0001f469\U0001f3fd\u200d\U0001f4bb",
    "flags": "🇫🇷🇩🇪🇯🇵 \U0001f3f3\ufe0f\u200d\U0001f308",
    "flag of England": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f wins",
    "skin tones": "👍🏻👍🏽👍🏿 and 🤝🏾",
    "phonetics": "The word is pronounced /ˌɪntəˈnæʃənəl/ in British English",
    "mathematics": "∀x∈ℝ: x² ≥ 0, ∑ᵢ aᵢ = α + β·γ, Δt ≈ 5 µs",
    "placeholder text": "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor",
    "copied page": "Read\u00a0more about\u200b our ser\u00advices \ufeffhere",
    "empty": "",
    "only signs": "?!?! ... --- *** ~~~",
}
