"""Cause or effect, and what somebody does by saying something."""

from demo.suite_text.suite_task import SuiteTask

TASKS = (
    SuiteTask(
        907,
        "cause_or_effect",
        "Cause Effect Classification",
        "Causal Reasoning",
        "Commonsense",
        'Two events are given. If the second event made the first one happen, answer "cause". If it happened because '
        'of the first one, answer "effect".',
        """
Event: The lights went out. Second event: A storm hit the power line. => cause
Event: The alarm rang. Second event: Everybody left the building. => effect
""",
        ("because", "The answer must be one of the two labels."),
        """
Event: The road was icy. Second event: The van slid into the ditch. => effect
Event: The plants died. Second event: Nobody watered them for weeks. => cause
Event: The boy told a joke. Second event: The class laughed. => effect
Event: The roof leaks. Second event: A branch fell on it. => cause
Event: The phone ran out of power. Second event: I could not call you. => effect
Event: The milk smells sour. Second event: It stood in the sun all day. => cause
Event: She practiced every evening. Second event: She won the piano contest. => effect
Event: The shop is crowded. Second event: Everything is sold at half price. => cause
Event: He forgot his coat. Second event: He caught a cold. => effect
Event: The river rose above its banks. Second event: It had rained for ten days. => cause
Event: The cook dropped the plates. Second event: The floor was covered with pieces. => effect
Event: The dog barks. Second event: A stranger opened the gate. => cause
Event: They missed the last bus. Second event: They walked home in the dark. => effect
Event: My shoes are wet. Second event: I stepped into a puddle. => cause
Event: The teacher was ill. Second event: The lesson was cancelled. => effect
Event: The cheese is gone. Second event: A mouse got into the pantry. => cause
Event: The sun came out. Second event: The snowman melted. => effect
Event: The baby cries. Second event: A loud noise woke it up. => cause
Event: The team trained hard. Second event: They reached the final. => effect
Event: The window is broken. Second event: A ball flew against it. => cause
Event: The price of bread went up. Second event: People bought less bread. => effect
Event: The singer lost her voice. Second event: She sang for six hours. => cause
Event: He told a lie. Second event: His friends no longer trust him. => effect
Event: The fire went out. Second event: It had started to rain. => cause
Event: We planted a hundred bulbs. Second event: The garden is full of tulips. => effect
Event: The pan is black. Second event: I left it on the stove too long. => cause
""",
    ),
    SuiteTask(
        908,
        "shop_talk",
        "Dialogue Act Recognition",
        "Commonsense Reasoning",
        "Dialogue",
        'Label what the speaker does: "request" for asking somebody to do something, "promise" for saying that one '
        'will do something, "complaint" for being unhappy about something.',
        """
Could you wrap this up for me? => request
I will bring it back tomorrow, you have my word. => promise
This radio stopped working after a day! => complaint
""",
        ("question", "The answer must be one of the three labels."),
        """
Could you hold the door for a second? => request
This steak is as tough as leather. => complaint
I will call you as soon as I land. => promise
Would you mind turning the heat down? => request
We have been waiting for an hour and nobody has come. => complaint
You will have your money by Friday, I swear. => promise
Show me the way to the cashier, please. => request
The zipper of this jacket broke on the first day. => complaint
I will repair it for you this weekend. => promise
Please bring us the bill. => request
The people upstairs are far too loud at night. => complaint
Do not worry, I will pick up the children. => promise
Can you help me carry this? => request
My order came without the fries again. => complaint
We will send you a new one at once. => promise
Would you please spell your name? => request
The room smells of smoke and the bed is hard. => complaint
I will never be late again. => promise
Pass me the salt, please. => request
You sold me a watch that does not run. => complaint
I will keep your secret. => promise
Could you check the tires as well? => request
It is much too cold in this office. => complaint
I will water your roses while you are away. => promise
Kindly leave your shoes at the door. => request
The bus was late for the third time this week. => complaint
""",
    ),
)
