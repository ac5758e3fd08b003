import { defineConfig } from '@adonisjs/lucid'

export default defineConfig({ connection: 'main', connections: { main: { client: 'pg', connection: process.env.DATABASE_URL } } })
