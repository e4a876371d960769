"""The function words of English, by their closed classes, in lower case; contractions as words and as their parts."""

_CLASSES = {
    "articles and determiners": (
        "a an the this that these those each every either neither some any no none all both half several "
        "many much more most few fewer less least enough such same other another own"
    ),
    "pronouns": (
        "i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her "
        "hers herself it its itself they them their theirs themselves one oneself who whom whose which what whoever "
        "whatever whichever somebody someone something anybody anyone anything nobody nothing everybody everyone "
        "everything"
    ),
    "prepositions": (
        "about above across after against along among amongst around as at before behind below beneath beside besides "
        "between beyond by despite down during except for from in inside into like near of off on onto out outside "
        "over past per round since through throughout till to toward towards under underneath unlike until up upon "
        "via with within without"
    ),
    "conjunctions": (
        "and but or nor so yet if unless because although though while whilst whereas whether than when whenever "
        "where wherever once lest"
    ),
    "auxiliaries": (
        "am is are was were be been being do does did doing done have has had having will would shall should can could "
        "may might must ought need dare cannot"
    ),
    "adverbs without content": (
        "not never ever also too very quite rather just only even still already again then there here now thus hence "
        "however therefore how why almost else"
    ),
    "contractions and their parts": (
        "n't 's 'm 're 've 'll 'd s t m re ve ll d don't doesn't didn't isn't aren't wasn't weren't hasn't haven't "
        "hadn't won't wouldn't shan't shouldn't can't couldn't mayn't mightn't mustn't i'm you're he's she's it's "
        "we're they're i've you've we've they've i'd you'd he'd she'd we'd they'd i'll you'll he'll she'll we'll "
        "they'll that's there's here's who's what's let's ain't"
    ),
}
FUNCTION_WORDS = frozenset(word for words in _CLASSES.values() for word in words.split())
