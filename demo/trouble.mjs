/** Trouble that was to be expected: it is told in a sentence, without a stack. */
export class Trouble extends Error {}
