"""Textual entailment, answerability, word analogies."""

from demo.suite_text.suite_task import SuiteTask

TASKS = (
    SuiteTask(
        901,
        "everyday_entailment",
        "Textual Entailment",
        "Deductive Reasoning",
        "Narrative",
        "You are given two sentences. If the first sentence makes it certain that the second one is true, answer "
        '"Yes". Otherwise answer "No".',
        """
Sentence 1: The museum closed its doors at noon. ~ Sentence 2: Nobody can enter the museum in the evening.
=> Yes
Sentence 1: My sister plays chess. ~ Sentence 2: My sister won a chess prize. => No
""",
        ("Maybe", "Only the two answers of the definition are allowed."),
        """
Sentence 1: The baker sold every loaf before ten. ~ Sentence 2: At eleven there was no loaf left to buy.
=> Yes
Sentence 1: A man is washing his car. ~ Sentence 2: The car belongs to his brother. => No
Sentence 1: Two children are asleep on the train. ~ Sentence 2: There are children on the train. => Yes
Sentence 1: The lake was frozen all winter. ~ Sentence 2: People swam in the lake in January. => No
Sentence 1: Our neighbor bought a second dog. ~ Sentence 2: Our neighbor has more than one dog. => Yes
Sentence 1: A woman reads the newspaper in a cafe. ~ Sentence 2: The woman is drinking coffee. => No
Sentence 1: The orchestra played without a pause for two hours. ~ Sentence 2: The orchestra played for an hour.
=> Yes
Sentence 1: The bridge is being repaired. ~ Sentence 2: The bridge will open again on Monday. => No
Sentence 1: She left the office after everybody else. ~ Sentence 2: She was the last to leave the office.
=> Yes
Sentence 1: The letter arrived on a rainy day. ~ Sentence 2: The letter was from a friend. => No
Sentence 1: He ate nothing the whole day. ~ Sentence 2: He skipped lunch. => Yes
Sentence 1: The team scored three goals. ~ Sentence 2: The team won the match. => No
Sentence 1: The twins were born in May. ~ Sentence 2: Both twins have their birthday in spring. => Yes
Sentence 1: A cyclist stops at a red light. ~ Sentence 2: The cyclist is late for work. => No
Sentence 1: All the windows of the house were broken. ~ Sentence 2: The kitchen window was broken. => Yes
Sentence 1: My uncle used to be a miner. ~ Sentence 2: My uncle works in a mine today. => No
Sentence 1: The puppy weighs less than the cat. ~ Sentence 2: The cat is heavier than the puppy. => Yes
Sentence 1: Several guests stayed until midnight. ~ Sentence 2: All guests stayed until midnight. => No
Sentence 1: The ship sank in 1912. ~ Sentence 2: The ship was under water in 1913. => Yes
Sentence 1: The soup needs more salt. ~ Sentence 2: The soup is too cold. => No
Sentence 1: He climbed the mountain alone. ~ Sentence 2: Nobody climbed with him. => Yes
Sentence 1: The shop sells bicycles. ~ Sentence 2: The shop repairs bicycles for free. => No
Sentence 1: Her only son became a surgeon. ~ Sentence 2: She has a son. => Yes
Sentence 1: The lecture was announced for Friday. ~ Sentence 2: Many students came to the lecture. => No
Sentence 1: The glass fell and broke into pieces. ~ Sentence 2: The glass is no longer whole. => Yes
Sentence 1: A tourist asks for the way to the castle. ~ Sentence 2: The castle is closed. => No
""",
    ),
    SuiteTask(
        902,
        "amount_entailment",
        "Textual Entailment",
        "Quantitative Reasoning",
        "Mathematics",
        "Read the fact and the claim. Decide whether the claim is supported or refuted by the fact. Answer with "
        '"supported" or "refuted".',
        """
Fact: The hall has sixty seats. ~ Claim: A hundred people can sit in the hall. => refuted
Fact: The walk takes ten minutes. ~ Claim: The walk takes less than an hour. => supported
""",
        ("yes", "The answer must be one of the two words of the definition."),
        """
Fact: The ticket costs five dollars. ~ Claim: Ten dollars are enough for the ticket. => supported
Fact: The tower is forty meters high. ~ Claim: The tower is higher than a hundred meters. => refuted
Fact: Nobody failed the exam. ~ Claim: Every student passed the exam. => supported
Fact: The box holds a dozen pens. ~ Claim: There are only three pens in the box. => refuted
Fact: Half of the class came by bus. ~ Claim: Some students came by bus. => supported
Fact: The meeting lasted from nine to eleven. ~ Claim: The meeting lasted five hours. => refuted
Fact: The farm has six barns. ~ Claim: The farm has more than four barns. => supported
Fact: The tank is completely empty. ~ Claim: There is some fuel in the tank. => refuted
Fact: Each of the four rooms has a window. ~ Claim: There are at least four windows. => supported
Fact: The bag weighs eight kilos. ~ Claim: The bag weighs less than two kilos. => refuted
Fact: The store opens every single day. ~ Claim: The store opens on Sunday. => supported
Fact: Only one runner finished the race. ~ Claim: Three runners finished the race. => refuted
Fact: The novel has nine hundred pages. ~ Claim: The novel is longer than fifty pages. => supported
Fact: The oldest player is thirty. ~ Claim: One of the players is forty. => refuted
Fact: Twelve of the thirteen lamps work. ~ Claim: Most of the lamps work. => supported
Fact: The train never stops in our town. ~ Claim: The train stops in our town at noon. => refuted
Fact: The village has two churches and a mill. ~ Claim: There is a mill in the village. => supported
Fact: The cake was cut into eight pieces. ~ Claim: The cake was cut into two pieces. => refuted
Fact: The pool is three meters deep. ~ Claim: The pool is deeper than one meter. => supported
Fact: None of the apples were ripe. ~ Claim: Some apples were ripe. => refuted
Fact: The choir has thirty singers. ~ Claim: There are more than twenty singers in the choir. => supported
Fact: The shop sold twenty coats and no hats. ~ Claim: The shop sold a hat. => refuted
Fact: It rained on all seven days. ~ Claim: It rained on Tuesday. => supported
Fact: The path is two kilometers long. ~ Claim: The path is ten kilometers long. => refuted
Fact: Both brothers are doctors. ~ Claim: The younger brother is a doctor. => supported
Fact: The bus has room for thirty people. ~ Claim: Fifty people fit into the bus. => refuted
""",
    ),
    SuiteTask(
        903,
        "note_answerability",
        "Answerability Classification",
        "Reasoning on Extraction",
        "Miscellaneous",
        'You are given a note and a question. Answer "Yes" if the note holds the answer to the question, and "No" '
        "if it does not.",
        """
Note: The plumber comes at four. ~ Question: When does the plumber come? => Yes
Note: The plumber comes at four. ~ Question: What does the plumber charge? => No
""",
        ("At four.", "The task is to say whether there is an answer, not to give it."),
        """
Note: The spare key is under the blue pot. ~ Question: Where is the spare key? => Yes
Note: Dinner is in the fridge. ~ Question: Who cooked the dinner? => No
Note: The vet can see Bella on Thursday. ~ Question: On which day can the vet see Bella? => Yes
Note: Grandma called this morning. ~ Question: What did Grandma say? => No
Note: The rent goes up by forty dollars in June. ~ Question: By how much does the rent go up? => Yes
Note: Please water the plants twice a week. ~ Question: How many plants are there? => No
Note: Mr. Hall from the bank wants to speak to you. ~ Question: Who wants to speak to me? => Yes
Note: The parcel is with the neighbors. ~ Question: What is in the parcel? => No
Note: We moved the rehearsal to room twelve. ~ Question: In which room is the rehearsal? => Yes
Note: The heating is off until Friday. ~ Question: Why is the heating off? => No
Note: Buy two liters of milk and some yeast. ~ Question: How much milk should I buy? => Yes
Note: Your bicycle is ready. ~ Question: What did the repair cost? => No
Note: The elevator stops only at the third floor. ~ Question: At which floor does the elevator stop? => Yes
Note: The guests liked the garden. ~ Question: How long did the guests stay? => No
Note: Tom took the umbrella. ~ Question: Who took the umbrella? => Yes
Note: The library has a new reading room. ~ Question: When does the reading room open? => No
Note: The dentist moved to Mill Street. ~ Question: To which street did the dentist move? => Yes
Note: I left the car at the airport. ~ Question: What color is the car? => No
Note: The cat hides in the wardrobe when it thunders. ~ Question: Where does the cat hide? => Yes
Note: The choir sings on Sunday. ~ Question: Which songs does the choir sing? => No
Note: The code for the gate is 4471. ~ Question: What is the code for the gate? => Yes
Note: Lisa will be late. ~ Question: Why will Lisa be late? => No
Note: The soup kitchen needs onions. ~ Question: What does the soup kitchen need? => Yes
Note: A man asked for you at the door. ~ Question: How old did the man look? => No
Note: The old printer is in the cellar. ~ Question: Where is the old printer? => Yes
Note: The match was moved to the evening. ~ Question: Who won the match? => No
""",
    ),
    SuiteTask(
        904,
        "pair_analogy",
        "Word Analogy",
        "Analogical Reasoning",
        "Commonsense",
        "Two words belong together in a certain way. Find the word that belongs to the third word in the same way. "
        "Answer with one word.",
        """
bird : fly. fish : ? => swim
pen : write. scissors : ? => cut
""",
        ("water", "A fish lives in water, but the first pair is about how the animal moves."),
        """
hand : glove. head : ? => hat
cow : calf. cat : ? => kitten
day : night. summer : ? => winter
king : queen. father : ? => mother
puppy : dog. chick : ? => hen
Italy : Rome. France : ? => Paris
up : down. left : ? => right
baker : bread. tailor : ? => clothes
eye : see. ear : ? => hear
ice : cold. fire : ? => hot
teacher : school. nurse : ? => hospital
car : road. ship : ? => sea
two : four. three : ? => six
bee : hive. bird : ? => nest
tree : forest. soldier : ? => army
hungry : eat. tired : ? => sleep
sugar : sweet. lemon : ? => sour
spring : green. snow : ? => white
book : read. song : ? => sing
big : bigger. small : ? => smaller
go : went. see : ? => saw
mouse : mice. foot : ? => feet
Monday : Tuesday. Friday : ? => Saturday
hen : egg. cow : ? => milk
clock : time. thermometer : ? => temperature
painter : brush. writer : ? => pen
""",
    ),
)
