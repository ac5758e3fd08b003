/** Keeps the process alive, unlike the library's own timers: a runner may have nothing else to do. */
export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
