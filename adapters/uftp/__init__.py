"""UFTP (Shapeshifter 3): the door through which a grid operator trades flexibility with the aggregator.

`envelope` opens and seals signed messages, `reading` and `writing` translate them, `isps` holds their clock and sign,
`courier` delivers what is written. Nothing outside this folder sees an object of the library `shapeshifter_uftp`.

On the wire a consumer reads positive and power is in watts; inside injection is positive and power is in MW.
Source: Shapeshifter specification 3.1.0, https://github.com/shapeshifter/shapeshifter-specification.
"""
