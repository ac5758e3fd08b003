import { Secret } from '@adonisjs/core/helpers'
import { defineConfig } from '@adonisjs/core/http'

export const appKey = new Secret('a-key-of-32-characters-and-no-use')
export const http = defineConfig({})
