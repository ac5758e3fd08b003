const NUMBER = new Intl.NumberFormat('en-US')

/** `10,000` */
export function number(n) {
  return NUMBER.format(n)
}

/** `1 process`, `10 processes` */
export function plural(n, one, many) {
  return `${number(n)} ${n === 1 ? one : many}`
}
