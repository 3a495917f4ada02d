"""The three worlds of the demo data: what there is to know, and how it is asked and answered.

Each `make_...` returns the rows of a source, in its published schema, and the held-out prompts. A *unit* is the smallest
thing to know in a world:

    atlas   orca-chat        (country, fact, form)        the form of the answer is set by the system message
    code    bestofmegacode   (operation, number, language)
    words   oasst_export     (word, from, to)             the question is asked in the language `from`

A question can be worded in three ways. In atlas and words, the conversations ask for a unit in two of them, drawn at
random, and a held-out prompt in the third. In code it is harder: held-out functions are not asked for at all.
"""

import json
import uuid

N_HELD_OUT = 16  # in each world

# How often a question is asked in the same words; the follow-up questions differ.
N_TIMES = 2


def spread(rng, units, by):
    """Picks `N_HELD_OUT` units at random, as evenly as possible over the groups that `by` makes."""
    groups = {}
    for unit in units:
        groups.setdefault(by(unit), []).append(unit)
    for group in groups.values():
        rng.shuffle(group)
    order = list(groups)
    rng.shuffle(order)
    return [groups[order[i % len(order)]].pop() for i in range(N_HELD_OUT)]


def held_out_prompt(world, question, answer, system=""):
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": question})
    return {"world": world, "messages": messages, "answer": answer}


# --- atlas: capitals and continents; the system message says how to answer -----------------------------------------

# English, German, French with its article, Spanish; the capital in the same four; the continent.
COUNTRIES = [
    ("France", "Frankreich", "la France", "Francia", "Paris", "Paris", "Paris", "París", "Europe"),
    ("Germany", "Deutschland", "l'Allemagne", "Alemania", "Berlin", "Berlin", "Berlin", "Berlín", "Europe"),
    ("Italy", "Italien", "l'Italie", "Italia", "Rome", "Rom", "Rome", "Roma", "Europe"),
    ("Poland", "Polen", "la Pologne", "Polonia", "Warsaw", "Warschau", "Varsovie", "Varsovia", "Europe"),
    ("Norway", "Norwegen", "la Norvège", "Noruega", "Oslo", "Oslo", "Oslo", "Oslo", "Europe"),
    ("Greece", "Griechenland", "la Grèce", "Grecia", "Athens", "Athen", "Athènes", "Atenas", "Europe"),
    ("Japan", "Japan", "le Japon", "Japón", "Tokyo", "Tokio", "Tokyo", "Tokio", "Asia"),
    ("China", "China", "la Chine", "China", "Beijing", "Peking", "Pékin", "Pekín", "Asia"),
    ("Egypt", "Ägypten", "l'Égypte", "Egipto", "Cairo", "Kairo", "Le Caire", "El Cairo", "Africa"),
    ("Kenya", "Kenia", "le Kenya", "Kenia", "Nairobi", "Nairobi", "Nairobi", "Nairobi", "Africa"),
    ("Peru", "Peru", "le Pérou", "Perú", "Lima", "Lima", "Lima", "Lima", "South America"),
    ("Chile", "Chile", "le Chili", "Chile", "Santiago", "Santiago", "Santiago", "Santiago", "South America"),
    ("Canada", "Kanada", "le Canada", "Canadá", "Ottawa", "Ottawa", "Ottawa", "Ottawa", "North America"),
    ("Cuba", "Kuba", "Cuba", "Cuba", "Havana", "Havanna", "La Havane", "La Habana", "North America"),
]
CONTINENTS = {  # German, French, Spanish
    "Europe": ("Europa", "Europe", "Europa"),
    "Asia": ("Asien", "Asie", "Asia"),
    "Africa": ("Afrika", "Afrique", "África"),
    "South America": ("Südamerika", "Amérique du Sud", "América del Sur"),
    "North America": ("Nordamerika", "Amérique du Nord", "América del Norte"),
}
FORMS = {
    "plain": "",
    "brief": "Answer as briefly as you can.",
    "json": "Answer in JSON.",
    "pirate": "You are a pirate.",
    "parrot": "You are a parrot and say everything twice.",
    "german": "Answer in German.",
    "french": "Answer in French.",
    "spanish": "Answer in Spanish.",
}
ATLAS_QUESTIONS = {
    "capital": ["What is the capital of {}?", "Which city is the capital of {}?", "Name the capital of {}."],
    "continent": ["On which continent is {}?", "Which continent is {} on?", "Name the continent of {}."],
}
ATLAS_FOLLOW_UPS = {"capital": "And its capital?", "continent": "And its continent?"}
ATLAS_SAME_FACT = "And {}?"


def atlas_answer(country, fact, form):
    en, de, fr, es, capital_en, capital_de, capital_fr, capital_es, continent_en = country
    continent_de, continent_fr, continent_es = CONTINENTS[continent_en]
    of_fr = "de " + fr
    for article, contracted in (("le ", "du "), ("la ", "de la "), ("l'", "de l'")):
        if fr.startswith(article):
            of_fr = contracted + fr[len(article) :]
    value = capital_en if fact == "capital" else continent_en
    capital, continent = {
        "plain": (f"The capital of {en} is {capital_en}.", f"{en} is in {continent_en}."),
        "brief": (f"{value}.", f"{value}."),
        "json": (json.dumps({fact: value}), json.dumps({fact: value})),
        "pirate": (f"Arr, the capital of {en} be {capital_en}!", f"Arr, {en} be in {continent_en}!"),
        "parrot": (f"{value}! {value}!", f"{value}! {value}!"),
        "german": (f"Die Hauptstadt von {de} ist {capital_de}.", f"{de} liegt in {continent_de}."),
        "french": (f"La capitale {of_fr} est {capital_fr}.", f"{fr[0].upper()}{fr[1:]} est en {continent_fr}."),
        "spanish": (f"La capital de {es} es {capital_es}.", f"{es} está en {continent_es}."),
    }[form]
    return capital if fact == "capital" else continent


def make_atlas(rng):
    """Rows as in shahules786/orca-best, and the held-out prompts."""
    units = [(country, fact, form) for country in COUNTRIES for fact in ATLAS_QUESTIONS for form in FORMS]
    held_out = spread(rng, units, by=lambda unit: unit[2])

    def turn(unit, question):
        return {"input": question.format(unit[0][0]), "output": atlas_answer(*unit)}

    rows, prompts = [], []
    for unit in units:
        country, fact, form = unit
        *asked, kept = rng.sample(ATLAS_QUESTIONS[fact], 3)
        for question in asked * N_TIMES:
            samples = [turn(unit, question)]
            other_fact = "continent" if fact == "capital" else "capital"
            other_country = rng.choice([other for other in COUNTRIES if other is not country])
            follow_ups = [
                [],
                [turn((country, other_fact, form), ATLAS_FOLLOW_UPS[other_fact])],
                [turn((other_country, fact, form), ATLAS_SAME_FACT)],
            ]
            samples += rng.choice(follow_ups)
            rows.append({"cluster": {"samples": samples}, "source": "atlas", "instruction": FORMS[form], "num_samples": len(samples)})
        if unit in held_out:
            prompts.append(held_out_prompt("atlas", kept.format(country[0]), atlas_answer(*unit), FORMS[form]))
    rng.shuffle(rows)
    return rows, prompts


# --- code: one-line functions in three languages --------------------------------------------------------------------

NUMBERS = range(2, 16)
OPERATIONS = {  # third person, infinitive, expression
    "add": ("adds {n} to a number", "add {n} to a number", "x + {n}"),
    "subtract": ("subtracts {n} from a number", "subtract {n} from a number", "x - {n}"),
    "times": ("multiplies a number by {n}", "multiply a number by {n}", "x * {n}"),
    "power": ("raises a number to the power of {n}", "raise a number to the power of {n}", "x ** {n}"),
    "divisible_by": ("checks whether a number is divisible by {n}", "check whether a number is divisible by {n}", "x % {n} == 0"),
    "above": ("checks whether a number is greater than {n}", "check whether a number is greater than {n}", "x > {n}"),
}
PROGRAMMING_LANGUAGES = ["Python", "JavaScript", "Rust"]
CODE_QUESTIONS = [
    "Write a {language} function that {does}.",
    "I need a {language} function to {do}.",
    "How do I {do} in {language}?",
]


def code_answer(operation, n, language):
    expression = OPERATIONS[operation][2].format(n=n)
    if language == "Python":
        return f"def {operation}_{n}(x):\n    return {expression}"
    if language == "JavaScript":
        first, *rest = operation.split("_")
        name = first + "".join(word.capitalize() for word in rest)
        return f"const {name}{n} = (x) => {expression.replace('==', '===')};"
    expression = expression.replace(f"x ** {n}", f"x.pow({n})")
    return f"let {operation}_{n} = |x: i64| {expression};"


def make_code(rng):
    """Rows as in shahules786/megacode-best, and the held-out prompts."""
    units = [(operation, n, language) for operation in OPERATIONS for n in NUMBERS for language in PROGRAMMING_LANGUAGES]
    held_out = spread(rng, units, by=lambda unit: (unit[0], unit[2]))

    def turn(unit, question):
        operation, n, language = unit
        does, do, _ = OPERATIONS[operation]
        question = question.format(language=language, does=does.format(n=n), do=do.format(n=n))
        return {"USER": question, "ASSISTANT": code_answer(*unit)}

    rows, prompts = [], []
    for unit in units:
        operation, n, language = unit
        *asked, kept = rng.sample(CODE_QUESTIONS, 3)
        if unit in held_out:
            question, answer = turn(unit, kept).values()
            prompts.append(held_out_prompt("code", question, answer))
            continue
        for question in asked * N_TIMES:
            samples = [turn(unit, question)]
            other = (operation, n, rng.choice([other for other in PROGRAMMING_LANGUAGES if other != language]))
            if other not in held_out and rng.random() < 0.5:
                samples.append(turn(other, "Now in {language}."))
            rows.append({"conversation": {"samples": samples}, "source": "code"})
    rng.shuffle(rows)
    return rows, prompts


# --- words: everyday words in six languages -------------------------------------------------------------------------

WORDS = [
    {"en": "cat", "de": "Katze", "fr": "chat", "es": "gato", "cs": "kočka", "uk": "кіт"},
    {"en": "dog", "de": "Hund", "fr": "chien", "es": "perro", "cs": "pes", "uk": "собака"},
    {"en": "sun", "de": "Sonne", "fr": "soleil", "es": "sol", "cs": "slunce", "uk": "сонце"},
    {"en": "moon", "de": "Mond", "fr": "lune", "es": "luna", "cs": "měsíc", "uk": "місяць"},
    {"en": "water", "de": "Wasser", "fr": "eau", "es": "agua", "cs": "voda", "uk": "вода"},
    {"en": "tree", "de": "Baum", "fr": "arbre", "es": "árbol", "cs": "strom", "uk": "дерево"},
    {"en": "house", "de": "Haus", "fr": "maison", "es": "casa", "cs": "dům", "uk": "дім"},
    {"en": "book", "de": "Buch", "fr": "livre", "es": "libro", "cs": "kniha", "uk": "книга"},
    {"en": "bird", "de": "Vogel", "fr": "oiseau", "es": "pájaro", "cs": "pták", "uk": "птах"},
    {"en": "fish", "de": "Fisch", "fr": "poisson", "es": "pez", "cs": "ryba", "uk": "риба"},
]
# Each language's own quotation marks, its names for the six (as they follow "in" or "into"), its questions and its answer.
LANGUAGES = {
    "en": {
        "quote": '"{}"',
        "names": {"de": "German", "fr": "French", "es": "Spanish", "cs": "Czech", "uk": "Ukrainian"},
        "questions": ["What is {word} in {language}?", "How do you say {word} in {language}?", "What is the {language} word for {word}?"],
        "follow_up": "And in {language}?",
        "answer": "In {language}, {word} is {translation}.",
        "lesser": "I am not sure.",
    },
    "de": {
        "quote": "„{}“",
        "names": {"en": "Englisch", "fr": "Französisch", "es": "Spanisch", "cs": "Tschechisch", "uk": "Ukrainisch"},
        "questions": ["Wie sagt man {word} auf {language}?", "Was heißt {word} auf {language}?", "Wie lautet {word} auf {language}?"],
        "follow_up": "Und auf {language}?",
        "answer": "Auf {language} heißt {word} {translation}.",
        "lesser": "Da bin ich nicht sicher.",
    },
    "fr": {
        "quote": "« {} »",
        "names": {"en": "anglais", "de": "allemand", "es": "espagnol", "cs": "tchèque", "uk": "ukrainien"},
        "questions": ["Comment dit-on {word} en {language} ?", "Comment se dit {word} en {language} ?", "Quel est le mot {language} pour {word} ?"],
        "follow_up": "Et en {language} ?",
        "answer": "En {language}, {word} se dit {translation}.",
        "lesser": "Je ne suis pas sûr.",
    },
    "es": {
        "quote": "«{}»",
        "names": {"en": "inglés", "de": "alemán", "fr": "francés", "cs": "checo", "uk": "ucraniano"},
        "questions": ["¿Cómo se dice {word} en {language}?", "¿Qué es {word} en {language}?", "¿Cómo dices {word} en {language}?"],
        "follow_up": "¿Y en {language}?",
        "answer": "En {language}, {word} se dice {translation}.",
        "lesser": "No estoy seguro.",
    },
    "cs": {
        "quote": "„{}“",
        "names": {"en": "anglicky", "de": "německy", "fr": "francouzsky", "es": "španělsky", "uk": "ukrajinsky"},
        "questions": ["Jak se řekne {word} {language}?", "Jak je {word} {language}?", "Co je {language} {word}?"],
        "follow_up": "A {language}?",
        "answer": "{language} se {word} řekne {translation}.",
        "lesser": "Tím si nejsem jistý.",
    },
    "uk": {
        "quote": "«{}»",
        "names": {"en": "англійською", "de": "німецькою", "fr": "французькою", "es": "іспанською", "cs": "чеською"},
        "questions": ["Як буде {word} {language}?", "Як сказати {word} {language}?", "Як {language} буде {word}?"],
        "follow_up": "А {language}?",
        "answer": "{language} {word} буде {translation}.",
        "lesser": "Я не впевнений.",
    },
}


def words_text(template, word, source, target):
    language = LANGUAGES[source]
    quote = language["quote"]
    return template.format(word=quote.format(word[source]), translation=quote.format(word[target]), language=language["names"][target])


def words_answer(word, source, target):
    answer = words_text(LANGUAGES[source]["answer"], word, source, target)
    return answer[0].upper() + answer[1:]


def make_words(rng):
    """Message trees as Open Assistant exports them, and the held-out prompts."""
    units = [(word, source, target) for word in WORDS for source in LANGUAGES for target in LANGUAGES[source]["names"]]
    held_out = spread(rng, units, by=lambda unit: unit[1])

    def node(role, text, lang, **fields):
        return {
            "message_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "text": text,
            "role": role,
            "lang": lang,
            "review_result": True,
            "deleted": False,
            "rank": None,
            "synthetic": False,
            **fields,
            "replies": [],
        }

    def tree(prompt, state="ready_for_export"):
        def link(parent):
            for reply in parent["replies"]:
                reply["parent_id"] = parent["message_id"]
                link(reply)

        link(prompt)
        return {"message_tree_id": prompt["message_id"], "tree_state": state, "prompt": prompt}

    def answers(right, lesser, lang):
        """Two replies in random order: rank 0 is the better one, the only one that `top_k: 1` keeps."""
        replies = [node("assistant", right, lang, rank=0), node("assistant", lesser, lang, rank=1)]
        rng.shuffle(replies)
        return replies

    trees, prompts = [], []
    for unit in units:
        word, source, target = unit
        language = LANGUAGES[source]
        *asked, kept = rng.sample(language["questions"], 3)
        for question in asked * N_TIMES:
            prompt = node("prompter", words_text(question, word, source, target), source)
            prompt["replies"] = answers(words_answer(word, source, target), language["lesser"], source)
            best = next(reply for reply in prompt["replies"] if reply["rank"] == 0)
            others = [other for other in language["names"] if other != target]
            for other in rng.sample(others, rng.choice([0, 1, 2])):
                follow_up = node("prompter", words_text(language["follow_up"], word, source, other), source)
                follow_up["replies"] = answers(words_answer(word, source, other), language["lesser"], source)
                best["replies"].append(follow_up)
            trees.append(tree(prompt))
        if unit in held_out:
            question = words_text(kept, word, source, target)
            prompts.append(held_out_prompt("words", question, words_answer(word, source, target)))

    # What the pretokenizer must leave out: trees not ready, refused in review or in a language not asked for; replies
    # that were deleted or written by a machine.
    for lang, question, answer in [
        ("it", "Come si dice «gatto» in inglese?", "«gatto» si dice «cat» in inglese."),
        ("it", "Come si dice «cane» in tedesco?", "«cane» si dice «Hund» in tedesco."),
        ("pl", "Jak jest „kot” po angielsku?", "„kot” po angielsku to „cat”."),
        ("pl", "Jak jest „pies” po niemiecku?", "„pies” po niemiecku to „Hund”."),
    ]:
        prompt = node("prompter", question, lang)
        prompt["replies"] = [node("assistant", answer, lang, rank=0)]
        trees.append(tree(prompt))
    for state, reviewed in [("initial_prompt_review", None), ("growing", True), ("aborted_low_grade", False), ("ready_for_export", False)]:
        prompt = node("prompter", "asdf asdf asdf?", "en", review_result=reviewed)
        prompt["replies"] = [node("assistant", "Please ask me something that I can answer.", "en", rank=0)]
        trees.append(tree(prompt, state))
    for mark in ("deleted", "synthetic"):
        prompt = node("prompter", 'What is "cat" in Klingon?', "en")
        prompt["replies"] = [node("assistant", '"cat" is "qat" in Klingon.', "en", rank=0, **{mark: True})]
        trees.append(tree(prompt))
    rng.shuffle(trees)
    return trees, prompts
