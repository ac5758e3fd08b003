/** Texts of very different lengths that show when a part of them is another's. */
export const textOf = (key, n) => `${key}=${n};`.repeat(1 + (n % 200))

/**
 * Reads some keys; how many were there.
 * @throws when a text is not whole
 */
export async function checkWhole(driver, keys, count) {
  let found = 0
  for (let i = 0; i < count; i++) {
    const key = `churn:${Math.floor(Math.random() * keys)}`
    const text = await driver.get(key)
    if (text === undefined) continue
    found++
    const [, n] = /=(\d+);/.exec(text) ?? []
    if (text !== textOf(key, Number(n))) throw new Error(`${key} is not whole: ${text.slice(0, 80)}`)
  }
  return found
}
