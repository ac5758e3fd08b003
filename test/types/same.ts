/** Compiles only where both are the very same type; `any` is the same as `any` alone. */
export function same<A, B>(..._: Same<A, B> extends true ? [] : [never]): void {}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
