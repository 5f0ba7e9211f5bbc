"""The same problems written plainly: slow, readable, the truth that faster engines are held against."""
